// Working memory that a thread keeps between calls: fresh pages cost more than the work done in them.
#pragma once
#include <cstdint>
#include <memory>

namespace autorep {

class Scratch {
 public:
  // At least `bytes`, aligned to 64, of undefined content; valid until the next call on this object.
  char* get(int64_t bytes) {
    if (bytes > size_) {
      memory_.reset(new char[static_cast<size_t>(bytes) + 64]);
      size_ = bytes;
    }
    char* p = memory_.get();
    return p + (64 - reinterpret_cast<uintptr_t>(p) % 64) % 64;
  }

 private:
  std::unique_ptr<char[]> memory_;
  int64_t size_ = 0;
};

}  // namespace autorep
