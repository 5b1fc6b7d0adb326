#include "python/watchdog.hpp"

#include <algorithm>
#include <utility>

#include "call/hooks.hpp"
#include "call/trace.hpp"
#include "python/python.hpp"

namespace owt {

namespace {

// A machine that is short of time is not a process that is stuck.
constexpr std::chrono::milliseconds least_patience{1000};
// Loading is no crime, and a library that reads a model in C may keep the GIL for long.
constexpr std::chrono::milliseconds patience_with_loads{for_tests(60'000, 1000)};

// Without a GIL all threads stop for a collection and its like, and who is in C stops nowhere.
constexpr auto never_ends = python::has_gil
                                ? "holds the GIL in C and does not let it go"
                                : "is in C and does not come back, and all others wait for it, as a collection does";

Problem stuck_problem() {
    return {503, "process-stuck",
            "A call has brought this process to a standstill, and it is being replaced: try again in a second."};
}

}  // namespace

void Watchdog::run() {
    for (;;) {
        Deadline due;
        {
            std::unique_lock lock(mutex_);
            changed_.wait(lock, [&] { return !deadlines_.empty(); });
            auto at = deadlines_.front().at;
            if (changed_.wait_until(lock, at) == std::cv_status::no_timeout && Clock::now() < at) {
                continue;
            }
            due = std::move(deadlines_.front());
            deadlines_.pop_front();
        }
        if (CallPtr late = due.call.lock()) {
            if (late->state() != Call::State::done) {
                write_off(late);
            }
        } else if (due.heartbeats > 0) {
            look_for_heartbeat(due);
        }
    }
}

void Watchdog::push(Deadline deadline) {
    std::lock_guard lock(mutex_);
    deadline.at = Clock::now() + deadline.patience;
    auto later = std::ranges::upper_bound(deadlines_, deadline.at, {}, &Deadline::at);
    deadlines_.insert(later, std::move(deadline));
    changed_.notify_one();
}

void Watchdog::watch(const CallPtr& call) {
    push({.patience = settings_.grace, .call = call});
}

void Watchdog::write_off(const CallPtr& call) {
    auto patience = std::max(settings_.grace, least_patience);
    std::string what =
        "a call did not end within " + std::to_string(settings_.grace.count()) + " ms after it was cancelled";
    if (call->detached()) {
        doorbell_.log(
            {4, call->asked.connection,
             what + ": its coroutine ignores CancelledError or blocks its thread" + trace_note(call->asked.environ)});
        supervisor_.overdue(call);
    } else if (!threads_.write_off(call, what)) {
        patience = std::max(patience, patience_with_loads);
    }
    ask_for_heartbeat(patience);
}

void Watchdog::ask_for_heartbeat(std::chrono::milliseconds patience) {
    // Counted before it is asked for: the answer may come at once, and where nothing else happens no other follows.
    auto next = supervisor_.heartbeats() + 1;
    supervisor_.ping();
    hook("pinged");
    push({.patience = patience, .heartbeats = next});
}

// Without a GIL a thread that is lost in C holds up the others when they are all to stand still, which may be at any
// time: it is looked again until it has come back.
bool Watchdog::may_be_held_up_later() {
    if (python::has_gil) {
        return false;
    }
    std::lock_guard lock(mutex_);
    return threads_.lost() > 0 &&
           std::ranges::none_of(deadlines_, [](const Deadline& due) { return due.heartbeats > 0; });
}

void Watchdog::look_for_heartbeat(const Deadline& deadline) {
    if (supervisor_.heartbeats() >= deadline.heartbeats) {
        if (may_be_held_up_later()) {
            ask_for_heartbeat(std::max(settings_.grace, least_patience));
        }
        return;
    }
    if (!deadline.last) {
        doorbell_.log({4, 0, std::string("Python cannot be had: a call ") + never_ends});
        for (const CallPtr& call : queue_.drain()) {
            call->refuse(stuck_problem());
            call->finished();
        }
        threads_.decline(Pool::Health::worn_out, "Python cannot be had");
        push({.patience = std::max(settings_.grace, least_patience), .heartbeats = deadline.heartbeats, .last = true});
        return;
    }
    for (const CallPtr& call : threads_.running()) {
        if (call->answered()) {
            call->end(End::aborted);
        } else {
            call->refuse(stuck_problem());
        }
    }
    threads_.decline(Pool::Health::stuck, "Python cannot be had");
}

}  // namespace owt
