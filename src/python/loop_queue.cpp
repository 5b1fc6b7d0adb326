#include "python/loop_queue.hpp"

#include <sys/eventfd.h>

#include <algorithm>
#include <cerrno>
#include <memory>
#include <system_error>
#include <utility>

namespace owt {

// Never destroyed: Python threads may outlive everything else.
LoopQueue& LoopQueue::get() {
    static auto* queue = std::make_unique<LoopQueue>().release();
    return *queue;
}

LoopQueue::LoopQueue() : fd_(::eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)) {
    if (!fd_) {
        throw std::system_error(errno, std::generic_category(), "eventfd() failed");
    }
}

void LoopQueue::arrange(std::size_t limit, std::function<bool(CallPtr)> to_threads) {
    limit_ = limit;
    to_threads_ = std::move(to_threads);
}

// With the mutex held. Whatever of the call has still to be read or looked up is a thread's work.
bool LoopQueue::knows(const Call& call) const {
    const Call::Asked& asked = call.asked;
    if (!asked.parsed || asked.looks_later || asked.place == Place::multipart) {
        return false;
    }
    auto found = functions_.find(asked.params.code_id);
    return found != functions_.end() && found->second.contains(asked.params.fn_name) && !call.has_rest();
}

LoopQueue::Push LoopQueue::push(const CallPtr& call) {
    if (!knows_some_) {
        return Push::not_mine;
    }
    std::lock_guard lock(mutex_);
    if (!knows(*call)) {
        return Push::not_mine;
    }
    if (stopping_ || running_ + calls_.size() >= limit_) {
        return Push::full;
    }
    calls_.push_back(call);
    return Push::taken;
}

void LoopQueue::kick() {
    if (!knows_some_) {
        return;
    }
    std::lock_guard lock(mutex_);
    if (!calls_.empty() && !std::exchange(rung_, true)) {
        [[maybe_unused]] auto n = ::eventfd_write(fd_.get(), 1);
    }
}

bool LoopQueue::remove(const CallPtr& call) {
    if (!knows_some_) {
        return false;
    }
    std::lock_guard lock(mutex_);
    return std::erase(calls_, call) > 0;
}

std::deque<CallPtr> LoopQueue::stop() {
    std::lock_guard lock(mutex_);
    stopping_ = true;
    return std::exchange(calls_, {});
}

CallPtr LoopQueue::take() {
    std::lock_guard lock(mutex_);
    if (calls_.empty()) {
        if (std::exchange(rung_, false)) {
            eventfd_t count;
            [[maybe_unused]] auto n = ::eventfd_read(fd_.get(), &count);
        }
        return nullptr;
    }
    CallPtr call = std::move(calls_.front());
    calls_.pop_front();
    ++running_;
    call->run();
    call->detach();
    return call;
}

void LoopQueue::hand_back(const CallPtr& call) {
    leave();
    call->queue_again();
    if (!to_threads_(call)) {
        call->refuse(queue_full());
        call->finished();
    }
}

bool LoopQueue::enter() {
    std::lock_guard lock(mutex_);
    if (running_ + calls_.size() >= limit_) {
        return false;
    }
    ++running_;
    return true;
}

void LoopQueue::leave() {
    std::lock_guard lock(mutex_);
    --running_;
}

void LoopQueue::know(const std::string& code_id, const std::string& fn_name) {
    std::lock_guard lock(mutex_);
    functions_[code_id].insert(fn_name);
    knows_some_ = true;
}

void LoopQueue::forget(const std::string& code_id) {
    std::lock_guard lock(mutex_);
    functions_.erase(code_id);
}

}  // namespace owt
