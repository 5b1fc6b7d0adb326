// An answer as it is kept: which may be, how its head is written down, and the recording of one while it is sent.
// Pure: knows neither nginx nor Python.

#pragma once

#include <chrono>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "call/call.hpp"

namespace owt {

// What an answer's head says about keeping it.
struct Terms {
    const char* refused = nullptr;  // why it is not kept, as a token (RFC 9110, 5.6.2); null if it may be
    bool by_accept = false;         // the answer was chosen by the request's Accept
    std::optional<std::chrono::seconds> lifetime;
};

// Not kept: errors, parts (206) and 304; what sets cookies, varies by anything but Accept, or says in Cache-Control
// that it is nobody else's or not to be stored (RFC 9111, 5.2.2: no-store, no-cache, private; s-maxage and max-age
// limit its life).
Terms terms_of(const Head& head);

// A head as text, and back. The names and values read point into the text.
std::string write_head(const Head& head);
int status_in(std::string_view text);
template <typename Visit>
void each_header_in(std::string_view text, Visit visit);
// Whether a Cache-Control has a directive.
bool has_directive(std::string_view cache_control, std::string_view name);
// The value of the header ETag; empty if there is none.
std::string_view etag_in(std::string_view text);

struct Kept {
    std::string head;  // as write_head() makes it
    std::string body;
    Terms terms;
    std::string accept;  // of the request that it answers
};

// What an answer is as far as it has gone out. Costs no memory once it turns out that it cannot be kept.
class Recording {
  public:
    explicit Recording(std::size_t limit) : limit_(limit) {}

    // An answer begins. To one that is whole an ETag is added, so that it has the same one later.
    void begin(Head& head, bool whole, const std::vector<Piece>& pieces);
    void add(const std::vector<Piece>& pieces);
    // It will never be whole, or never kept.
    void give_up(const char* why);

    // Why it is not kept, as a token; null as long as it may be.
    const char* refused() const { return refused_; }
    // All has been added.
    Kept take();

  private:
    std::size_t limit_;
    const char* refused_ = nullptr;
    Head head_;
    Terms terms_;
    std::string body_;
};

// ---- below: templates

template <typename Visit>
void each_header_in(std::string_view text, Visit visit) {
    text.remove_prefix(text.find('\0') + 1);
    while (!text.empty()) {
        std::string_view name = text.substr(0, text.find('\0'));
        text.remove_prefix(name.size() + 1);
        std::string_view value = text.substr(0, text.find('\0'));
        text.remove_prefix(value.size() + 1);
        visit(name, value);
    }
}

}  // namespace owt
