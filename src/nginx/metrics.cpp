#include "nginx/metrics.hpp"

#include <algorithm>

#include "call/hooks.hpp"

namespace owt {

Outcome outcome_of(unsigned status) {
    if (status < 300) {
        return Outcome::success;
    }
    return status < 400 ? Outcome::redirection : status < 500 ? Outcome::client_error : Outcome::server_error;
}

// The sum first: who is killed in between has counted no call, and no call counts without its time.
void Durations::add(double seconds) noexcept {
    nanoseconds.fetch_add(static_cast<std::uint64_t>(std::max(seconds, 0.0) * 1e9), std::memory_order_relaxed);
    hook("count");
    auto bucket = static_cast<std::size_t>(std::ranges::lower_bound(bounds, seconds) - bounds.begin());
    counts[bucket].fetch_add(1, std::memory_order_release);
}

}  // namespace owt
