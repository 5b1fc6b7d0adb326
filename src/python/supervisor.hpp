// Python's main thread: starts the interpreter, preloads, starts the threads, then waits for what has to be told to
// Python from outside a call (cancellations, room for asynchronous writers, things to let go), and ends it all.

#pragma once

#include <condition_variable>
#include <mutex>
#include <string>
#include <vector>

#include "call/doorbell.hpp"
#include "call/pool.hpp"
#include "python/growth.hpp"
#include "python/threads.hpp"

namespace owt {

class Supervisor {
  public:
    Supervisor(const Settings& settings, Doorbell& doorbell, Threads& threads, Growth& growth)
        : settings_(settings), doorbell_(doorbell), threads_(threads), growth_(growth) {}

    // The whole life of Python, on the thread that calls this.
    void run();

    // --- From any thread.

    bool ready() const { return ready_; }
    // Nobody waits for the call any more.
    void cancel(CallPtr call) { add({Task::Kind::cancel, std::move(call)}); }
    // There is room for more of its output.
    void resume(CallPtr call) { add({Task::Kind::resume, std::move(call)}); }
    // It has no thread, and has not ended in time after it was cancelled.
    void overdue(CallPtr call) { add({Task::Kind::overdue, std::move(call)}); }
    // More threads may be due.
    void grow();
    // It is to take the GIL once, which heartbeats() then counts.
    void ping();
    std::uint64_t heartbeats() const { return heartbeats_; }
    // What is idle is to be let go, until the process is below so many bytes.
    void relieve(std::size_t limit);
    // An endpoint, by the beginning of its code's SHA-256, is to be dropped.
    void drop(std::string code_id);
    std::size_t reliefs() const { return reliefs_; }
    bool relief_helped() const { return relief_helped_; }
    void stop(Clock::time_point deadline);

  private:
    struct Task {
        enum class Kind { cancel, resume, overdue } kind;
        CallPtr call;
    };

    void add(Task task);
    bool wait(std::chrono::seconds pause);
    bool preload_all();
    void watch();
    bool deliver(const Task& task);
    bool start_threads();
    void log(unsigned level, std::string text) { doorbell_.log({level, 0, std::move(text)}); }

    const Settings& settings_;
    Doorbell& doorbell_;
    Threads& threads_;
    Growth& growth_;
    std::atomic<bool> ready_ = false;
    std::atomic<std::uint64_t> heartbeats_ = 0;
    std::atomic<std::size_t> reliefs_ = 0;
    std::atomic<bool> relief_helped_ = false;

    std::mutex mutex_;
    std::condition_variable changed_;
    std::vector<Task> tasks_;
    bool grow_ = false;
    bool pinged_ = false;
    std::size_t relieve_ = 0;  // bytes; 0: nobody has asked
    std::vector<std::string> drops_;
    bool stop_requested_ = false;
    Clock::time_point stop_deadline_;
};

}  // namespace owt
