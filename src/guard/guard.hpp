// The guard: whether this client may run code here, judged by where the request comes from, which host it names and
// which page, if any, a browser sends it for. Pure: knows neither nginx nor Python.
//
// The configuration fills Rules, a request fills a Visit, guard() says what is to be done.

#pragma once

#include "guard/rules.hpp"
#include "guard/verdict.hpp"
#include "guard/visit.hpp"

namespace owt {

Verdict guard(const Visit& visit, const Rules& rules);

}  // namespace owt
