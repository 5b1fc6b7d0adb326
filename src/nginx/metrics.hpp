// What is counted of calls for as long as nginx's master lives: how many came to which end, and how long they took.
// Single numbers only, each of which is true by itself: who is killed in the middle loses one call at most. Pure: knows
// no nginx.

#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <string_view>

namespace owt {

// How a call has ended for its client.
enum class Outcome : std::uint8_t {
    success,       // 2xx
    redirection,   // 3xx
    client_error,  // 4xx
    server_error,  // 5xx
    aborted,       // the answer broke off
    cancelled,     // the client left, or somebody has stopped it
};

constexpr std::array<std::string_view, 6> outcome_names = {"2xx", "3xx", "4xx", "5xx", "aborted", "cancelled"};

Outcome outcome_of(unsigned status);

// A histogram of seconds.
struct Durations {
    static constexpr std::array bounds = {0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1,  0.25,
                                          0.5,   1.0,    2.5,   5.0,  10.0,  30.0, 100.0};

    std::array<std::atomic<std::uint64_t>, bounds.size() + 1> counts;  // each of what is in no smaller one
    std::atomic<std::uint64_t> nanoseconds;

    void add(double seconds) noexcept;
};

// Of one location of an instance, by one process after the other.
struct Counted {
    std::array<Durations, outcome_names.size()> calls;
    Durations loads;  // where the location has no name: of all the instance
};

}  // namespace owt
