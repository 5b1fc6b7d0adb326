// The guard: whether this client may run code here, judged by where the request comes from, which host it names and
// which page, if any, a browser sends it for. Pure: knows neither nginx nor Python.
//
// The configuration fills Rules, a request fills a Visit, guard() says what is to be done.

#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "call/params.hpp"
#include "call/problem.hpp"

struct sockaddr;

namespace owt {

struct Address {
    enum class Kind : std::uint8_t { none, unix_socket, v4, v6 };

    Kind kind = Kind::none;
    std::array<std::uint8_t, 16> bytes{};  // in network order, the first 4 of v4, zero beyond

    bool operator==(const Address&) const = default;
};

// Kind::none if the family is another one, or there is no address.
Address address_of(const sockaddr* address);
// As inet_pton reads it: one spelling of IPv4, no brackets, no port, no zone. Else Kind::none.
Address parse_address(std::string_view text);
// 127/8, ::1, ::ffff:127/104 or a unix socket: what only this machine reaches. Also for an address that is listened on.
bool is_local(const Address& address);

// Hosts and origins are compared in one spelling each: lower case, no dot at the end, addresses as inet_ntop writes
// them; an origin always with its port. Empty if text is neither. A host has no port.
std::string canonical_host(std::string_view text);
std::string canonical_origin(std::string_view text);

// What the configuration of a location says. The lists hold canonical spellings.
struct Rules {
    bool remote = false;
    bool links = false;
    bool has_auth = false;    // owt_auth; no other kind counts
    bool any_origin = false;  // owt_allow origin *
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
};

// A request as the guard sees it. Views point into the request.
struct Visit {
    // The headers that the guard looks at; each may have come several times.
    enum Name {
        host_header,
        forwarded_for,
        real_ip,
        forwarded,
        forwarded_proto,
        fetch_site,
        fetch_mode,
        fetch_dest,
        sec_purpose,
        purpose,
        moz,
        origin,
        referer,
        user_agent,
        upgrade_insecure,
        preflight_method,
        preflight_headers,
        names
    };

    Address peer;  // of the connection
    // Where the listener speaks PROXY: the source that it told, empty if it told none.
    std::optional<std::string_view> proxy_source;
    Address local;  // the address that the peer connected to, never a wildcard
    std::uint16_t port = 0;
    bool https = false;
    std::string_view method;
    std::string_view host;    // nginx's r->headers_in.server: what was asked for, without a port
    bool names_code = false;  // the query does: owt::names_code()
    std::array<std::vector<std::string_view>, names> headers;

    // Takes in any header; those that do not matter here are ignored.
    void add(std::string_view name, std::string_view value);
    const std::vector<std::string_view>& operator[](Name name) const { return headers[name]; }
};

struct Verdict {
    enum class Kind {
        pass,
        refuse,     // with problem; 405 where an OPTIONS is no preflight that may be answered
        confirm,    // the page of confirm.hpp
        preflight,  // 204 with guard_headers(); before any authentication, since browsers send none along
    };

    Kind kind = Kind::pass;
    Problem problem;
    std::string allow_origin;       // the origin, if it is allow-listed, or *
    std::string allow_headers;      // of a preflight
    bool varies_by_origin = false;  // Vary: Origin, whoever asks
};

Verdict guard(const Visit& visit, const Rules& rules);

// Headers for the answer to a request on which this was the verdict. Vary adds to what the adaptor sets; of the others
// each stands back where the adaptor sets it.
std::vector<std::pair<std::string_view, std::string_view>> guard_headers(const Verdict& verdict);

}  // namespace owt
