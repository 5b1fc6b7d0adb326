#include "python/queue.hpp"

#include <algorithm>
#include <utility>

#include "call/hooks.hpp"

namespace owt {

namespace {

// A thread beyond those that were asked for ends after so long without work.
constexpr auto idle_time = std::chrono::seconds(for_tests(30, 1));

}  // namespace

// With the mutex held: at most one thread is on its way at a time.
void Queue::wake() {
    if (!calls_.empty() && coming_ == 0 && !idle_.empty()) {
        ++coming_;
        Sleeper* last = idle_.back();
        idle_.pop_back();
        last->woken = true;
        last->wake.notify_one();
    }
}

bool Queue::push(CallPtr call) {
    std::lock_guard lock(mutex_);
    std::size_t free = serving_ - std::min(busy_, serving_);
    if (stopping_ || calls_.size() >= limit_ + free) {
        return false;
    }
    calls_.push_back(std::move(call));
    return true;
}

void Queue::kick() {
    bool starving;
    {
        std::lock_guard lock(mutex_);
        wake();
        starving = is_starving();
    }
    if (starving && tell_) {
        tell_();
    }
}

void Queue::put_back(const std::vector<CallPtr>& calls) {
    std::lock_guard lock(mutex_);
    if (stopping_) {
        for (const CallPtr& call : calls) {
            call->cancel();
        }
        return;
    }
    calls_.insert(calls_.begin(), calls.begin(), calls.end());
    wake();
}

bool Queue::remove(const CallPtr& call) {
    std::lock_guard lock(mutex_);
    return std::erase(calls_, call) > 0;
}

std::deque<CallPtr> Queue::stop() {
    std::lock_guard lock(mutex_);
    stopping_ = true;
    for (Sleeper* sleeper : idle_) {
        sleeper->woken = true;
        sleeper->wake.notify_one();
    }
    coming_ += idle_.size();
    idle_.clear();
    return std::exchange(calls_, {});
}

std::size_t Queue::size() {
    std::lock_guard lock(mutex_);
    return calls_.size();
}

std::deque<CallPtr> Queue::drain() {
    std::lock_guard lock(mutex_);
    return std::exchange(calls_, {});
}

void Queue::enter() {
    std::lock_guard lock(mutex_);
    ++serving_;
}

void Queue::leave() {
    std::lock_guard lock(mutex_);
    --serving_;
}

CallPtr Queue::next(bool ran) {
    std::unique_lock lock(mutex_);
    busy_ -= ran ? 1 : 0;
    if (calls_.empty() || stopping_) {
        return nullptr;
    }
    CallPtr call = std::move(calls_.front());
    calls_.pop_front();
    ++busy_;
    ++taken_;
    wake();
    bool starving = is_starving();
    lock.unlock();
    if (starving && tell_) {
        tell_();
    }
    return call;
}

bool Queue::wait() {
    Sleeper sleeper;
    std::unique_lock lock(mutex_);
    bool surplus = false;
    if (stopping_ || (!calls_.empty() && coming_ == 0)) {
        ++coming_;
    } else {
        idle_.push_back(&sleeper);
        auto woken = [&] { return sleeper.woken; };
        if (serving_ <= threads_) {
            sleeper.wake.wait(lock, woken);
        } else if (!sleeper.wake.wait_for(lock, idle_time, woken)) {
            std::erase(idle_, &sleeper);
            ++coming_;
            surplus = serving_ > threads_;
        }
    }
    if (stopping_ || surplus) {
        --serving_;
        return false;
    }
    return true;
}

void Queue::arrived() {
    std::lock_guard lock(mutex_);
    --coming_;
}

void Queue::write_off() {
    std::lock_guard lock(mutex_);
    --busy_;
    --serving_;
}

bool Queue::starving() {
    std::lock_guard lock(mutex_);
    return is_starving();
}

std::uint64_t Queue::taken() {
    std::lock_guard lock(mutex_);
    return taken_;
}

}  // namespace owt
