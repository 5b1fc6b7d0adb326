// A value in shared memory that one process writes and others read meanwhile, without a lock: nobody waits for a
// process that was killed. Pure: knows neither nginx nor Python.

#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <tuple>
#include <type_traits>

#include "call/hooks.hpp"

namespace owt {

// An odd sequence number says that it is being written, for ever if its writer was killed; the next writer makes it
// whole. There is one writer at a time.
template <typename T>
requires std::is_trivially_copyable_v<T>
class Published {
  public:
    // Who writes its own and then reads another's sees that, or is seen by it. held: the hook in the middle of it.
    void write(const T& value, const char* held = "publish") noexcept {
        Words words{};
        std::memcpy(words.data(), &value, sizeof(value));
        std::uint32_t odd = sequence_.load(std::memory_order_relaxed) | 1;
        sequence_.store(odd, std::memory_order_relaxed);
        for (std::size_t i = 0; i < words.size(); i++) {
            if (i == words.size() / 2) {
                hook(held);
            }
            words_[i].store(words[i], std::memory_order_release);
        }
        sequence_.store(odd + 1);
    }

    // nullopt if it cannot be had whole.
    std::optional<T> read() const noexcept {
        for (int attempt = 0; attempt < 100; attempt++) {
            std::uint32_t before = sequence_.load();
            Words words;
            for (std::size_t i = 0; i < words.size(); i++) {
                words[i] = words_[i].load(std::memory_order_acquire);
            }
            if (before % 2 == 0 && sequence_.load(std::memory_order_relaxed) == before) {
                T value;
                std::memcpy(&value, words.data(), sizeof(value));
                return value;
            }
        }
        return std::nullopt;
    }

  private:
    using Words = std::array<std::uint64_t, (sizeof(T) + 7) / 8>;

    std::atomic<std::uint32_t> sequence_;
    std::array<std::atomic<std::uint64_t>, std::tuple_size_v<Words>> words_;
};

static_assert(std::atomic<std::uint64_t>::is_always_lock_free);

}  // namespace owt
