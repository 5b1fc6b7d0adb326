// What a client sent, as a refusal shows it: in printable ASCII and in bounded length; as a line of configuration only
// where it is plausible as a name.

#pragma once

#include <string>
#include <string_view>

namespace owt {

std::string printable(std::string_view text);
// A line of configuration stands by itself, to be copied.
std::string line(std::string_view directive);

}  // namespace owt
