#include "python/loads.hpp"

#include <memory>
#include <utility>

namespace owt {

// Never destroyed: Python threads may outlive everything else.
Loads& Loads::get() {
    static auto* loads = std::make_unique<Loads>().release();
    return *loads;
}

void Loads::arrange(std::size_t limit, std::function<void(std::vector<CallPtr>)> resume) {
    limit_ = limit;
    resume_ = std::move(resume);
}

std::uint64_t Loads::begin() {
    std::lock_guard lock(mutex_);
    waiting_.try_emplace(++last_);
    return last_;
}

void Loads::end(std::uint64_t load) {
    std::vector<CallPtr> calls;
    {
        std::lock_guard lock(mutex_);
        auto found = waiting_.find(load);
        if (found == waiting_.end()) {
            return;
        }
        calls = std::move(found->second);
        waiting_.erase(found);
        count_ -= calls.size();
    }
    if (!calls.empty()) {
        resume_(std::move(calls));
    }
}

bool Loads::full() {
    std::lock_guard lock(mutex_);
    return count_ >= limit_;
}

bool Loads::take_over(const CallPtr& call) {
    std::uint64_t load = call->waits_for();
    if (load == 0) {
        return false;
    }
    {
        std::lock_guard lock(mutex_);
        auto found = waiting_.find(load);
        if (found != waiting_.end()) {
            found->second.push_back(call);
            ++count_;
            load = 0;
        }
    }
    if (load != 0) {
        resume_({call});  // it has ended meanwhile
    } else if (call->cancelled() && remove(call)) {
        call->finished();
    }
    return true;
}

bool Loads::remove(const CallPtr& call) {
    std::uint64_t load = call->waits_for();
    if (load == 0) {
        return false;
    }
    std::lock_guard lock(mutex_);
    auto found = waiting_.find(load);
    if (found == waiting_.end() || std::erase(found->second, call) == 0) {
        return false;
    }
    --count_;
    return true;
}

std::vector<CallPtr> Loads::drain() {
    std::vector<CallPtr> calls;
    std::lock_guard lock(mutex_);
    for (auto& [load, waiting] : waiting_) {
        calls.insert(calls.end(), waiting.begin(), waiting.end());
        waiting.clear();
    }
    count_ = 0;
    return calls;
}

}  // namespace owt
