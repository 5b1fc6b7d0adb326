// Asynchronous calls: how many there are, and the queue of those whose function is known to be a coroutine or an
// asynchronous generator. These need no thread: asyncio's loop takes them from here, many at a time, woken by an
// eventfd. What has to be loaded first, or evaluated, it hands back to the threads.

#pragma once

#include <deque>
#include <functional>
#include <mutex>
#include <string>
#include <string_view>
#include <unordered_map>
#include <unordered_set>

#include "call/call.hpp"
#include "call/fd.hpp"

namespace owt {

class LoopQueue {
  public:
    // The process's own.
    static LoopQueue& get();

    LoopQueue();

    // Before anything else: so many asynchronous calls may there be; to_threads takes a call that is not for the loop,
    // and says false where there is no room.
    void arrange(std::size_t limit, std::function<bool(CallPtr)> to_threads);

    // --- nginx's event loop.

    enum class Push { taken, full, not_mine };
    Push push(const CallPtr& call);
    // To be called once after a batch of pushes.
    void kick();
    // False if it is not there (any more).
    bool remove(const CallPtr& call);
    // Takes in nothing more. What waited.
    std::deque<CallPtr> stop();

    // --- Python's side.

    // Readable while there is something to take.
    int fd() const { return fd_.get(); }
    // The next call, running and without a thread from now on; null if there is none.
    CallPtr take();
    // It is not for the loop after all.
    void hand_back(const CallPtr& call);
    // A call that has run on a thread goes on without. False if there are too many.
    bool enter();
    // A call without a thread has ended.
    void leave();
    // This function is one for the loop; nothing of this endpoint is any more.
    void know(const std::string& code_id, const std::string& fn_name);
    void forget(const std::string& code_id);

  private:
    bool knows(const Call& call) const;

    Fd fd_;
    std::size_t limit_ = 0;
    std::function<bool(CallPtr)> to_threads_;

    std::mutex mutex_;
    std::unordered_map<std::string, std::unordered_set<std::string>> functions_;  // known ones, by endpoint
    std::atomic<bool> knows_some_ = false;
    std::deque<CallPtr> calls_;
    std::size_t running_ = 0;
    bool rung_ = false;  // the eventfd has been written
    bool stopping_ = false;
};

}  // namespace owt
