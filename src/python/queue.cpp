#include "python/queue.hpp"

#include <algorithm>

namespace owt {

// With the mutex held: at most one thread is on its way at a time.
void Queue::wake() {
    if (!calls_.empty() && coming_ == 0 && idle_ > 0) {
        ++coming_;
        ++wakes_;
        work_.notify_one();
    }
}

bool Queue::push(CallPtr call) {
    std::lock_guard lock(mutex_);
    if (calls_.size() >= limit_ || stopping_) {
        return false;
    }
    calls_.push_back(std::move(call));
    return true;
}

void Queue::kick() {
    std::lock_guard lock(mutex_);
    wake();
}

bool Queue::remove(const CallPtr& call) {
    std::lock_guard lock(mutex_);
    return std::erase(calls_, call) > 0;
}

void Queue::stop() {
    std::lock_guard lock(mutex_);
    stopping_ = true;
    for (const CallPtr& call : calls_) {
        call->cancel();
    }
    calls_.clear();
    work_.notify_all();
}

std::size_t Queue::size() {
    std::lock_guard lock(mutex_);
    return calls_.size();
}

CallPtr Queue::pop() {
    std::lock_guard lock(mutex_);
    if (calls_.empty() || stopping_) {
        return nullptr;
    }
    CallPtr call = std::move(calls_.front());
    calls_.pop_front();
    wake();
    return call;
}

bool Queue::wait() {
    std::unique_lock lock(mutex_);
    ++idle_;
    work_.wait(lock, [&] { return stopping_ || wakes_ > 0 || (!calls_.empty() && coming_ == 0); });
    --idle_;
    if (wakes_ > 0) {
        --wakes_;
    } else {
        ++coming_;
    }
    return !stopping_;
}

void Queue::arrived() {
    std::lock_guard lock(mutex_);
    --coming_;
}

}  // namespace owt
