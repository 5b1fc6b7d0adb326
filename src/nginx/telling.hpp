// A call of which is told what becomes of it, as the client has asked for: events, progress, the end. And refusals,
// which are told where something has been told before.

#pragma once

#include <optional>
#include <string>

#include "call/problem.hpp"
#include "nginx/exchange.hpp"

namespace owt {

// Passes on as much as the client takes, or all. False if the exchange is over.
bool tell_on(Exchange& exchange, bool all = false);
// False if the exchange is over.
bool tell(Exchange& exchange, Batch& batch);
void tell_failure(Exchange& exchange, const Problem& problem);
void refuse(Exchange& exchange, const Problem& problem);

// The last word on how far it is, if it is due: after that nothing more of it for a while, but at the end.
std::optional<std::string> due_progress(Exchange& exchange, bool at_end);

}  // namespace owt
