// The threads that run calls: started, found by the call that they run, written off and replaced when they do not come
// back.

#pragma once

#include <condition_variable>
#include <list>
#include <mutex>
#include <string>

#include "call/doorbell.hpp"
#include "call/pool.hpp"
#include "python/queue.hpp"
#include "python/slot.hpp"

namespace owt {

class Threads {
  public:
    Threads(const Settings& settings, Doorbell& doorbell, Queue& queue)
        : settings_(settings), doorbell_(doorbell), queue_(queue) {}

    // One more thread. False, with a word in the log, if the system gives none.
    bool add();
    // Every thread that runs a call sleeps in the kernel: for input, a lock, a child.
    bool all_asleep();
    // The slot in which this call runs; null if it does not.
    SlotPtr slot_of(const Call& call);
    std::vector<CallPtr> running();

    // A cancelled call that has not ended in time. False if it has since; what: for the log.
    bool write_off(const CallPtr& call, const std::string& what);
    // One more is lost, a thread of the pool or one that served many; how many are.
    std::size_t count_lost();
    std::size_t lost();
    // One is back that was no thread of the pool.
    void count_back();
    Pool::Health health() const { return health_; }
    // Never back to a better one; the first reason counts. From any thread.
    void decline(Pool::Health health, std::string why);
    std::string why() const;

    // Other threads that count until they end, as the supervisor's.
    void enter();
    void leave();
    // False if more than so many are left at the deadline.
    bool wait_for_end(std::size_t left, Clock::time_point deadline);

  private:
    void serve(const SlotPtr& slot);
    CallPtr next(python::Thread& thread, bool ran);
    void attach_in_turn(python::Thread& thread);
    Slot::Runs look();
    void run(Slot& slot, const CallPtr& call);
    std::size_t bearable() const;
    void count(bool sound);

    const Settings& settings_;
    Doorbell& doorbell_;
    Queue& queue_;

    std::mutex slots_mutex_;
    std::list<SlotPtr> slots_;
    std::size_t lost_ = 0;
    std::size_t next_index_ = 0;
    std::atomic<Pool::Health> health_ = Pool::Health::good;
    mutable std::mutex why_mutex_;
    std::string why_;
    std::atomic<unsigned> failures_ = 0;  // of owt itself, in a row

    std::mutex count_mutex_;
    std::condition_variable ended_;
    std::size_t count_ = 0;  // native threads that live, but for lost ones and the watchdog
};

}  // namespace owt
