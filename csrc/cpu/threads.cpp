#include "cpu/threads.h"

#include <omp.h>
#include <pthread.h>

#include <algorithm>
#include <atomic>

namespace autorep {
namespace {

std::atomic<int> threads{0};

// GNU OpenMP's worker threads do not survive fork, and waiting for them in the child would hang: a child runs alone.
void after_fork() { threads.store(1); }

}  // namespace

int num_threads() {
  int n = threads.load();
  if (n == 0) {
    static const int registered = pthread_atfork(nullptr, nullptr, after_fork);
    (void)registered;
    n = std::max(1, omp_get_max_threads());
    threads.store(n);
  }
  return n;
}

void set_num_threads(int n) {
  num_threads();  // installs the fork handler
  threads.store(n);
}

int threads_for(int64_t work, int64_t grain) {
  return static_cast<int>(std::max<int64_t>(1, std::min<int64_t>(num_threads(), work / std::max<int64_t>(1, grain))));
}

}  // namespace autorep
