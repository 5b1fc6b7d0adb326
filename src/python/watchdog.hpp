// Looks after cancelled calls that do not end within `grace`. Never needs the GIL: whoever does not end may hold it.

#pragma once

#include <condition_variable>
#include <deque>
#include <memory>
#include <mutex>

#include "call/doorbell.hpp"
#include "call/pool.hpp"
#include "python/supervisor.hpp"
#include "python/threads.hpp"

namespace owt {

class Watchdog {
  public:
    Watchdog(const Settings& settings, Doorbell& doorbell, Threads& threads, Supervisor& supervisor)
        : settings_(settings), doorbell_(doorbell), threads_(threads), supervisor_(supervisor) {}

    // For ever.
    void run();

    // From now on the call has `grace` to end.
    void watch(const CallPtr& call);

  private:
    struct Deadline {
        Clock::time_point at;
        std::weak_ptr<Call> call;
    };

    void write_off(const CallPtr& call);

    const Settings& settings_;
    Doorbell& doorbell_;
    Threads& threads_;
    Supervisor& supervisor_;

    std::mutex mutex_;
    std::condition_variable changed_;
    std::deque<Deadline> deadlines_;  // in order: grace is the same for all
};

}  // namespace owt
