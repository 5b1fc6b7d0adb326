#include "python/growth.hpp"

namespace owt {

using namespace std::chrono_literals;

namespace {

constexpr unsigned quiet_enough = 5;
constexpr auto pause = 10ms;
constexpr auto long_pause = 50ms;  // while somebody computes
constexpr auto at_once = 1ms;

bool gil_is_free(PyThreadState* state) {
    auto begin = Clock::now();
    PyEval_RestoreThread(state);
    auto took = Clock::now() - begin;
    PyEval_SaveThread();
    return took < at_once;
}

}  // namespace

std::chrono::milliseconds Growth::look(PyThreadState* state) {
    if (!queue_.starving()) {
        quiet_ = 0;
        return 0ms;
    }
    std::uint64_t taken = queue_.taken();
    bool quiet = taken == taken_ && threads_.all_asleep() && gil_is_free(state);
    taken_ = taken;
    if (!quiet) {
        quiet_ = 0;
        return long_pause;
    }
    if (++quiet_ == quiet_enough) {
        quiet_ = 0;
        threads_.add();
    }
    return pause;
}

}  // namespace owt
