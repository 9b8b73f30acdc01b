"""The report as a browser shows it: no errors of its script, nothing wider than the window, a slider that works."""

import shutil

import pytest
import torch

import autorep_fx as ar
from autorep_fx.models import resnet_cifar

CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")

pytestmark = pytest.mark.skipif(
    not (CHROMIUM and DRIVER), reason="the page is looked at in Debian's packages chromium and chromium-driver"
)

WIDTHS = (390, 1200, 1920)
WIDER = """
const page = document.documentElement, inner = [...document.querySelectorAll("main *, aside *")];
const wider = inner.filter((e) => e.getBoundingClientRect().right > innerWidth + 1 && !e.closest(".wide"));
return [page.scrollWidth > page.clientWidth, wider.map((e) => e.outerHTML.slice(0, 80))];
"""
SET = """
const field = document.getElementById(arguments[0]);
field.value = arguments[1];
field.dispatchEvent(new Event("input", {bubbles: true}));
"""


@pytest.fixture(scope="module")
def browser():
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for flag in ("headless=new", "no-sandbox", "disable-gpu", "no-first-run", "disable-background-networking",
                 "disable-component-update", "disable-sync"):  # fmt: skip
        options.add_argument(f"--{flag}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(DRIVER))
    yield driver
    driver.quit()


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    torch.manual_seed(0)
    model, x = resnet_cifar(8, in_channels=1).eval(), torch.randn(32, 1, 8, 8)
    hybrid = ar.transform(model, calibration=x, relu_budget=500)
    plan = ar.plan_budgets(model, x, shares=(1, 0.1, 0), progress=False)
    plan.reach("500 <ReLUs>", hybrid, 0.9)
    report = ar.inspect(hybrid, x, network="wan")
    return report.to_html(tmp_path_factory.mktemp("page") / "report.html", plan=plan).as_uri()


def show(browser, page: str, width: int) -> None:
    size = {"width": width, "height": 1400, "deviceScaleFactor": 1, "mobile": width < 500}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    browser.get(page)


def text(browser, name: str) -> str:
    return browser.execute_script("return document.getElementById(arguments[0]).innerText", name)


@pytest.mark.parametrize("width", WIDTHS)
def test_nothing_is_wider_than_the_window(browser, page, width):
    show(browser, page, width)
    assert browser.execute_script(WIDER) == [False, []]
    assert browser.get_log("browser") == []
    graph = "const s = document.querySelector('.scroll'); return s.scrollWidth <= s.clientWidth"
    assert browser.execute_script(graph)


def test_every_section_is_there(browser, page):
    show(browser, page, 1200)
    headings = [h.text for h in browser.find_elements("tag name", "h2")]
    assert headings == ["Graph", "What a private inference costs", "Other budgets", "Layers", "Sites"]
    assert "500 <ReLUs>" in text(browser, "plan")


def test_the_slider_changes_the_numbers(browser, page):
    show(browser, page, 1200)
    before = {name: text(browser, name) for name in ("chosen", "time", "offline", "storage", "price")}
    browser.execute_script(SET, "budget", "2")
    assert all(text(browser, name) != value for name, value in before.items())
    assert text(browser, "chosen").startswith("0 kept (0%)")
    a_day = float(text(browser, "storage").replace(",", ""))
    browser.execute_script(SET, "requests", "20000")
    assert float(text(browser, "storage").replace(",", "")) == pytest.approx(2 * a_day, rel=0.01)
    wan = float(text(browser, "time").replace(",", ""))
    browser.execute_script(SET, "where", "lan")
    assert float(text(browser, "time").replace(",", "")) < wan
    assert browser.get_log("browser") == []


def test_networks_and_colours_change_at_a_click(browser, page):
    show(browser, page, 1200)
    seen = "return [...document.querySelectorAll('.tab')].map((e) => e.offsetHeight > 0)"
    assert browser.execute_script(seen) == [True, False, False]
    browser.find_element("css selector", "label[for=network-2]").click()
    assert browser.execute_script(seen) == [False, False, True]
    shown = "return ['share', 'cost'].map((by) => getComputedStyle(document.querySelector('.graph .by-' + by)).display)"
    assert browser.execute_script(shown) == ["inline", "none"]
    browser.find_element("css selector", "label[for=by-cost]").click()
    assert browser.execute_script(shown) == ["none", "inline"]
