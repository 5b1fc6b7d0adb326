// Which published files are loaded, and as which versions: Python's threads say so, the event loop asks when it looks
// for a kept result.

#pragma once

#include <cstdint>
#include <map>
#include <mutex>
#include <optional>
#include <string>

#include "call/pool.hpp"

namespace owt {

class Versions {
  public:
    static Versions& get();

    // From now on calls of the file are answered by the source with this hash.
    void set(const std::string& file, std::string hash);
    // Who answers is about to change.
    void forget(const std::string& file);
    std::optional<Version> find(const std::string& file) const;

  private:
    mutable std::mutex mutex_;
    std::map<std::string, Version> versions_;
    std::uint64_t serial_ = 0;
};

}  // namespace owt
