// The threads that run calls, the bounded queue in front of them, and the two that watch over them: the supervisor
// (Python's main thread: starts the interpreter, preloads, interrupts cancelled calls) and the watchdog (never needs
// the GIL: writes off threads that do not come back).

#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "call/call.hpp"

namespace owt {

// What an owt_instance block says about a process.
struct Settings {
    std::size_t threads = 8;
    std::size_t queue = 64;
    std::chrono::milliseconds grace{10000};
    std::string python_home;               // a virtualenv; empty: the Python that owt was built with
    std::vector<std::string> python_path;  // before sys.path
    std::vector<std::pair<std::string, std::string>> env;
    std::vector<std::string> preload;
    std::vector<std::string> writable;  // if not empty, everything else is read-only
    std::size_t max_calls = 0;          // 0: no limit
    std::size_t max_rss = 0;            // bytes
    std::string sources;                // owt_dir
    std::chrono::seconds pause{0};      // before Python starts
    std::function<void()> in_child;     // called in a process that an adaptor forked
};

class Pool {
  public:
    // Starts Python on a thread of its own and returns at once.
    Pool(const Settings& settings, Doorbell& doorbell);
    Pool(const Pool&) = delete;
    Pool& operator=(const Pool&) = delete;

    // --- For the event loop; none of these waits for Python.

    // Python is up and everything is preloaded.
    bool ready() const;
    // As many threads as were configured have been written off: the process should be replaced.
    bool worn_out() const;
    // False if the queue is full.
    bool submit(CallPtr call);
    // To be called once after a batch of submits.
    void kick();
    void cancel(const CallPtr& call);
    // Room again for a call's asynchronous writer.
    void resume(CallPtr call);
    // Cancels everything, closes generators, runs atexit functions. False if Python threads are left at the deadline.
    bool stop(std::chrono::milliseconds deadline);

  private:
    struct Impl;
    Impl* impl_;  // never freed: its threads may outlive everything but the process
};

}  // namespace owt
