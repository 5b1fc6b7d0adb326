// The bounded queue of calls, and how work reaches Python: the loop puts a call here and, once per batch, wakes at most
// one idle thread. That thread waits for the GIL without having taken a call, so whoever has the GIL goes on draining
// the queue, and when a call lets the GIL go (it blocks) the thread that was woken goes on with the next and wakes
// another. So short calls cost no switches and long ones hold up nobody.
//
// The thread that fell asleep last is woken first: what libraries keep per thread (cuBLAS handles, allocator caches) is
// still warm there.

#pragma once

#include <condition_variable>
#include <deque>
#include <functional>
#include <mutex>
#include <vector>

#include "call/call.hpp"

namespace owt {

class Queue {
  public:
    // Beside what the threads are about to take, limit calls may wait. Threads beyond so many end when they have been
    // idle for a while; most are started if need be.
    Queue(std::size_t limit, std::size_t threads, std::size_t most) : limit_(limit), threads_(threads), most_(most) {}

    // --- The event loop's side.

    // False if the queue is full.
    bool push(CallPtr call);
    // To be called once after a batch of pushes.
    void kick();
    // Calls that had been taken in before: to the front, however many wait. From any thread.
    void put_back(const std::vector<CallPtr>& calls);
    // False if it is not there (any more).
    bool remove(const CallPtr& call);
    // No thread gets anything more, and nothing more is taken in. What waited.
    std::deque<CallPtr> stop();
    // What waits, taken out.
    std::deque<CallPtr> drain();
    std::size_t size();

    // --- The threads' side. A thread serves from enter() until wait() tells it to end, or it is written off.

    void enter();
    void leave();  // it could not be started

    // Null if there is nothing. ran: the thread has run the call that it got before.
    CallPtr next(bool ran);
    // For a thread that found nothing, and does not hold the GIL: until there is something to look for. It has to say
    // so once it is back at the queue. False if it is to end.
    bool wait();
    void arrived();
    // A thread that runs a call does not count any more.
    void write_off();

    // --- Whoever may start more threads.

    // Is called, with no lock held, when calls wait, no thread is idle, and there may be more.
    void on_starving(std::function<void()> tell) { tell_ = std::move(tell); }
    // It is so now.
    bool starving();
    // How many calls have been taken so far.
    std::uint64_t taken();

  private:
    struct Sleeper {
        std::condition_variable wake;
        bool woken = false;
    };

    void wake();
    bool is_starving() const {
        return !calls_.empty() && idle_.empty() && coming_ == 0 && serving_ < most_ && !stopping_;
    }

    const std::size_t limit_;
    const std::size_t threads_;
    const std::size_t most_;
    std::function<void()> tell_;

    std::mutex mutex_;
    std::deque<CallPtr> calls_;
    std::vector<Sleeper*> idle_;  // who fell asleep last stands last
    std::size_t coming_ = 0;      // woken and not yet at the queue
    std::size_t serving_ = 0;
    std::size_t busy_ = 0;  // of these, how many run a call
    std::uint64_t taken_ = 0;
    bool stopping_ = false;
};

}  // namespace owt
