// What a browser's headers say of the page that asks, and whether that page may. Pure: knows neither nginx nor Python.

#pragma once

#include <optional>
#include <string_view>

#include "guard/rules.hpp"
#include "guard/verdict.hpp"
#include "guard/visit.hpp"

namespace owt {

// Refuses what a browser asks for on a guess that its answer may be wanted.
std::optional<Problem> about_prefetch(const Visit& visit);
// The origin to name to a browser as allowed; empty if it is not.
std::string_view allowed_origin(const Visit& visit, const Rules& rules);
// allowed is what allowed_origin() has found.
Verdict judge_page(const Visit& visit, const Rules& rules, std::string_view allowed);

}  // namespace owt
