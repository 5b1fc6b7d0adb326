#include "python/watchdog.hpp"

namespace owt {

void Watchdog::run() {
    for (;;) {
        CallPtr late;
        {
            std::unique_lock lock(mutex_);
            changed_.wait(lock, [&] { return !deadlines_.empty(); });
            auto first = deadlines_.front();
            if (changed_.wait_until(lock, first.at) == std::cv_status::no_timeout && Clock::now() < first.at) {
                continue;
            }
            late = first.call.lock();
            deadlines_.pop_front();
        }
        if (late && late->state() != Call::State::done) {
            write_off(late);
        }
    }
}

void Watchdog::watch(const CallPtr& call) {
    std::lock_guard lock(mutex_);
    deadlines_.push_back({Clock::now() + settings_.grace, call});
    changed_.notify_one();
}

void Watchdog::write_off(const CallPtr& call) {
    std::string what =
        "a call did not end within " + std::to_string(settings_.grace.count()) + " ms after it was cancelled";
    if (call->detached()) {
        doorbell_.log(
            {4, call->asked.connection, what + ": its coroutine ignores CancelledError or blocks its thread"});
        supervisor_.overdue(call);
    } else {
        threads_.write_off(call, what);
    }
}

}  // namespace owt
