// Looks after cancelled calls that do not end within `grace`: their threads are written off. And if Python itself
// cannot be had within one more grace, since somebody holds the GIL in C, the process is given up: first for new calls,
// then for all. Who loads has a minute for that. Never needs the GIL itself.

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
    Watchdog(const Settings& settings, Doorbell& doorbell, Queue& queue, Threads& threads, Supervisor& supervisor)
        : settings_(settings), doorbell_(doorbell), queue_(queue), threads_(threads), supervisor_(supervisor) {}

    // For ever.
    void run();

    // From now on the call has `grace` to end.
    void watch(const CallPtr& call);

  private:
    struct Deadline {
        std::chrono::milliseconds patience{};
        Clock::time_point at{};
        std::weak_ptr<Call> call{};
        std::uint64_t heartbeats = 0;  // without a call: so many there should be by then
        bool last = false;             // the process has been given up for new calls already
    };

    void push(Deadline deadline);
    void write_off(const CallPtr& call);
    void ask_for_heartbeat(std::chrono::milliseconds patience);
    void look_for_heartbeat(const Deadline& deadline);
    bool may_be_held_up_later();

    const Settings& settings_;
    Doorbell& doorbell_;
    Queue& queue_;
    Threads& threads_;
    Supervisor& supervisor_;

    std::mutex mutex_;
    std::condition_variable changed_;
    std::deque<Deadline> deadlines_;  // in order
};

}  // namespace owt
