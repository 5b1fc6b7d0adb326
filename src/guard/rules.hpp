// What a location's configuration says about who may ask: owt_allow, and what it implies. Pure: knows neither nginx nor
// Python.

#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "call/params.hpp"

namespace owt {

// The lists hold canonical spellings.
struct Rules {
    bool remote = false;
    bool links = false;
    bool http10 = false;
    bool strict = false;      // owt_guard strict
    bool has_auth = false;    // owt_auth; no other kind counts
    bool any_origin = false;  // owt_allow origin *
    bool published = false;   // no code travels here: who may call is nginx's business
    std::vector<std::string> hosts;
    std::vector<std::string> origins;
    std::vector<std::string> server_names;
    std::vector<std::string> all_server_names;  // of every server, as fronts may be called

    // One argument of `owt_allow host` or `owt_allow origin`. The complaint is a sentence that begins with what was
    // given, quoted.
    Complaint allow_host(std::string_view text);
    Complaint allow_origin(std::string_view text);
    // Names that no Host can equal (_, wildcards) are left out. A regex is told from a name by nginx alone.
    void add_server_name(std::string_view name, bool own);
    // When all is known, inherited values included.
    Complaint check() const;

    // What is asked is in its canonical spelling. A front is known by the names of every server.
    bool knows_host(std::string_view host, bool through_front) const;
    bool allows_origin(std::string_view origin) const;
};

}  // namespace owt
