// What others may see of a call while it is there: its process has places for so many of its calls in shared memory,
// and counts them all. Whichever thread has the call says how it stands; everybody reads, and nobody waits for a
// process that was killed. Pure: knows neither nginx nor Python.

#pragma once

#include <array>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <string_view>

#include "call/published.hpp"

namespace owt {

// What is known of it.
struct CallSeen {
    std::uint64_t number;      // in its process, from 1 on
    std::uint64_t connection;  // nginx's number
    std::int64_t since;        // nanoseconds of the steady clock, which is one for all processes of the machine
    std::uint64_t endpoint;    // as endpoint_number() has it; 0: it is not known
    std::uint32_t location;    // the scoreboard's number
    std::array<char, 44> function;
};

// The beginning of a code's SHA-256 (hex digits, sixteen at least) as a number, and back. 0: there are none.
std::uint64_t endpoint_number(std::string_view code_id);
std::array<char, 16> endpoint_digits(std::uint64_t number);

enum class Stage : std::uint8_t { none, queued, loading, running, streaming, ending };

// Where a call is shown.
struct CallPlace {
    std::atomic<std::uint64_t>* stage = nullptr;  // its number, and in the lowest byte its Stage; 0: the place is free
    Published<CallSeen>* seen = nullptr;
};

constexpr std::uint64_t stage_word(std::uint64_t number, Stage stage) {
    return number << 8 | static_cast<std::uint64_t>(stage);
}

// All calls of a process so far, those without a place included.
struct Tally {
    std::atomic<std::uint64_t> shown;
    std::atomic<std::uint64_t> begun;  // they have left the queue
    std::atomic<std::uint64_t> ended;
};

// The call's side. One thread at a time.
class Sight {
  public:
    // On the event loop, before anybody else has the call.
    void show(Tally& tally, CallPlace place, const CallSeen& seen);
    // Its parameters are known.
    void name(std::string_view code_id, std::string_view function);
    // none: nothing of it is there any more.
    void stands(Stage stage);

  private:
    Tally* tally_ = nullptr;
    CallPlace place_;
    CallSeen seen_{};
    bool begun_ = false;
};

}  // namespace owt
