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
    lined = ar.sites(hybrid)["stages.1.0.relu1"]
    lined.set_line(torch.ones_like(lined.keep))
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


#: Of every cell that holds a time or a total: its text with what the style adds, its ends, and how large it is written.
CELLS = """
return [...document.querySelectorAll(arguments[0])].filter((e) => e.offsetParent).map((e) => {
  const box = e.getBoundingClientRect(), style = getComputedStyle(e);
  const added = getComputedStyle(e, "::after").content.replace(/^none$|"/g, "");
  return [e.textContent + added, box.left, box.right, parseFloat(style.fontSize)];
});
"""


@pytest.mark.parametrize("cells", [".costs .ms", ".costs tfoot td:not(:empty)", ".points .ms", ".points td:last-child",
                                   ".points.reached td"])  # fmt: skip
def test_times_and_totals_are_readable_on_a_phone(browser, page, cells):
    show(browser, page, 390)
    found = browser.execute_script(CELLS, cells)
    assert found
    for text_of, left, right, size in found:
        assert 0 <= left < right <= 390 and size >= 12, text_of
    if cells == ".costs .ms":
        assert all(text_of.endswith(" ms") for text_of, *_ in found)


def test_what_to_know_comes_first_on_a_phone(browser, page):
    show(browser, page, 390)
    top = "return document.querySelector(arguments[0]).getBoundingClientRect().top"
    header, said, graph, costs = (browser.execute_script(top, what) for what in ("h1", ".said", "aside", "#costs"))
    assert header < said < graph < costs and said < 844
    assert "ms and" in browser.find_element("css selector", ".said").text


def test_pictures_of_fits_stand_below_one_another_on_a_phone(browser, page):
    boxes = ("return [...document.querySelector('.fit .figures').children].map((e) => e.getBoundingClientRect())"
             ".map((b) => [b.left, b.top, b.width])")  # fmt: skip
    show(browser, page, 390)
    (left, top, width), (other, below, _) = browser.execute_script(boxes)
    assert left == other and top < below and width > 300
    show(browser, page, 1200)
    (left, top, _), (other, beside, _) = browser.execute_script(boxes)
    assert left < other and top == beside


def test_the_accuracy_goes_up_to_100(browser, page):
    show(browser, page, 1200)
    shown = ("return [...document.querySelectorAll('.figures.even svg')]"
             ".map((e) => [...e.querySelectorAll('text')].map((t) => t.textContent))")  # fmt: skip
    labels = browser.execute_script(shown)
    assert len(labels) == 2
    for texts in labels:
        assert "accuracy in %" in texts and "100" in texts
        assert max(float(t) for t in texts if t.replace(".", "").isdigit() and float(t) < 200) <= 100


def test_lines_are_in_the_legend_and_in_the_graph(browser, page):
    show(browser, page, 1200)
    assert "line" in browser.find_element("css selector", "aside .key").text
    pill = browser.execute_script("return [...document.querySelectorAll('.graph .site')].map((e) => e.textContent)")
    assert sum(text_of.endswith("lines") or "lines" in text_of for text_of in pill) == 1
    drawn = browser.execute_script("const e = document.querySelector('.track .lines'), b = e.getBoundingClientRect();"
                                   "return [b.width, b.height, getComputedStyle(e).backgroundImage]")  # fmt: skip
    assert drawn[0] > 10 and drawn[1] > 10 and "linear-gradient" in drawn[2]


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
