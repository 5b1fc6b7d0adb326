// Time by which to measure how old something is that several processes share. Pure: knows neither nginx nor Python.

#pragma once

#include <chrono>
#include <ctime>

namespace owt {

// Since this machine was started, sleep included. It goes on evenly, whatever the wall clock is set to, and is the same
// for all processes.
inline std::chrono::seconds uptime() noexcept {
    timespec now{};
    clock_gettime(CLOCK_BOOTTIME, &now);
    return std::chrono::seconds(now.tv_sec);
}

}  // namespace owt
