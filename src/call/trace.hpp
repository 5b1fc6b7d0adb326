// The trace that a call belongs to, as its caller says (W3C Trace Context). Pure: knows neither nginx nor Python.

#pragma once

#include <string>
#include <string_view>

namespace owt {

// The trace-id in the value of a header traceparent, 32 hex digits; empty where that is none.
std::string_view trace_id_in(std::string_view traceparent);

// That of a call with these CGI variables (NUL after each name and each value); empty if it belongs to none.
std::string_view trace_id_of(std::string_view environ);

// What a line of the log adds for such a call.
std::string trace_note(std::string_view environ);

}  // namespace owt
