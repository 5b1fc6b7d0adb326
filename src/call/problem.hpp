// How a refusal is told: plain text, or RFC 9457 problem+json for a client that accepts JSON better.
// Pure: knows neither nginx nor Python.

#pragma once

#include <string>
#include <string_view>

namespace owt {

struct Problem {
    int status = 500;
    std::string type;    // a short name ("code-not-found") or empty: about:blank
    std::string detail;  // what happened and what to do about it
};

// Where a call cannot be taken in (503, which is sent with Retry-After).
Problem queue_full();
Problem too_many_asynchronous();

// True if the Accept header's value ranks application/problem+json or application/json above text/plain
// (RFC 9110, 12.5.1: the most specific range decides; q=0 excludes). No header, or */*, prefers text.
bool prefers_json(std::string_view accept);

// True if it ranks text/html above these and application/json, as that of a browser does that opens a page. No header,
// or */*, does not.
bool prefers_html(std::string_view accept);

// The standard reason phrase of a status, "Error" for an unknown one.
std::string_view reason(int status);

// {"type": ..., "title": ..., "status": ..., "detail": ...} and a newline. detail may hold any bytes:
// what is not UTF-8 is replaced by U+FFFD. A short type name becomes "urn:owt:<name>".
std::string problem_json(const Problem& problem);

// The text as a string of JSON, quotes included. What is not UTF-8 is replaced by U+FFFD.
void append_json(std::string& out, std::string_view text);

// The detail, ended by exactly one newline.
std::string problem_text(const Problem& problem);

}  // namespace owt
