#include "python/versions.hpp"

#include <memory>
#include <utility>

namespace owt {

// Never destroyed: Python threads may outlive everything else.
Versions& Versions::get() {
    static auto* versions = std::make_unique<Versions>().release();
    return *versions;
}

void Versions::set(const std::string& file, std::string hash) {
    std::lock_guard lock(mutex_);
    versions_[file] = {.hash = std::move(hash), .serial = ++serial_};
}

void Versions::forget(const std::string& file) {
    std::lock_guard lock(mutex_);
    versions_.erase(file);
}

std::optional<Version> Versions::find(const std::string& file) const {
    std::lock_guard lock(mutex_);
    auto found = versions_.find(file);
    return found != versions_.end() ? std::optional(found->second) : std::nullopt;
}

}  // namespace owt
