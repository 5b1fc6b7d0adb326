// Places where a test can hold a thread, so that races are forced and not waited for. Compiled in for tests only.
// With OWT_HOOKS=dir in the environment, a thread that comes to a hook for which dir/NAME exists renames that file
// to NAME.reached and waits until it is removed.

#pragma once

#ifdef OWT_TEST_HOOKS

#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <string>

namespace owt {

inline void hook(const char* name) {
    const char* dir = std::getenv("OWT_HOOKS");
    if (dir == nullptr) {
        return;
    }
    std::string file = std::string(dir) + "/" + name;
    std::string reached = file + ".reached";
    if (std::rename(file.c_str(), reached.c_str()) != 0) {
        return;
    }
    while (::access(reached.c_str(), F_OK) == 0) {
        ::usleep(1000);
    }
}

// A time that a test would have to wait for.
constexpr int for_tests(int, int shorter) {
    return shorter;
}

// Where a test has put a /proc and a /sys of its own: OWT_ROOT in the environment.
inline std::string root_for_tests() {
    const char* root = std::getenv("OWT_ROOT");
    return root == nullptr ? "" : root;
}

}  // namespace owt

#else

#include <string>

namespace owt {

inline void hook(const char*) {}

constexpr int for_tests(int usual, int) {
    return usual;
}

inline std::string root_for_tests() {
    return {};
}

}  // namespace owt

#endif
