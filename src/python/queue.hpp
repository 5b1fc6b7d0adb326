// The bounded queue of calls, and how work reaches Python: the loop puts a call here and, once per batch, wakes at most
// one idle thread. That thread waits for the GIL without having taken a call, so whoever has the GIL goes on draining
// the queue, and when a call lets the GIL go (it blocks) the thread that was woken goes on with the next and wakes
// another. So short calls cost no switches and long ones hold up nobody.

#pragma once

#include <condition_variable>
#include <deque>
#include <mutex>
#include <vector>

#include "call/call.hpp"

namespace owt {

class Queue {
  public:
    explicit Queue(std::size_t limit) : limit_(limit) {}

    // --- The event loop's side.

    // False if the queue is full.
    bool push(CallPtr call);
    // To be called once after a batch of pushes.
    void kick();
    // False if it is not there (any more).
    bool remove(const CallPtr& call);
    // No thread gets anything more. What waited is cancelled.
    void stop();
    std::size_t size();

    // --- The threads' side.

    // Null if there is nothing.
    CallPtr pop();
    // For a thread that found nothing, and does not hold the GIL: until there is something to look for. It has to say
    // so once it is back at the queue. False if it is to end.
    bool wait();
    void arrived();

  private:
    void wake();

    const std::size_t limit_;
    std::mutex mutex_;
    std::condition_variable work_;
    std::deque<CallPtr> calls_;
    std::size_t idle_ = 0;    // threads that wait for work
    std::size_t coming_ = 0;  // woken and not yet at the queue
    std::size_t wakes_ = 0;   // of these, how many have still to take notice
    bool stopping_ = false;
};

}  // namespace owt
