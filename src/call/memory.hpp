// What memory there is, and how much of it this process has.

#pragma once

#include <cstddef>
#include <string>

namespace owt {

// Of this process; 0 if that cannot be read.
std::size_t resident_bytes();

// What this process may use at most: what the machine has, or what its control group is allowed (memory.max of version
// 2, memory.limit_in_bytes of version 1) or one that this lies in. root: where /proc and /sys are, for tests.
std::size_t memory_there_is(const std::string& root = {});

}  // namespace owt
