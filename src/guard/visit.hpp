// A request as the guard sees it. Pure: knows neither nginx nor Python.

#pragma once

#include <cstdint>
#include <memory_resource>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "guard/host.hpp"

namespace owt {

// Views point into the request.
struct Visit {
    // The headers that the guard looks at; each may have come several times.
    enum Name {
        host_header,
        forwarded_proto,
        fetch_site,
        fetch_mode,
        fetch_dest,
        sec_purpose,
        purpose,
        moz,
        ping_to,
        origin,
        referer,
        user_agent,
        accept,
        range,
        content_type,
        upgrade_insecure,
        preflight_method,
        preflight_headers,
        meant,
        names
    };

    // How fronts say whom they ask for: an address or several, or as RFC 7239 has it.
    enum class Way : std::uint8_t { addresses, forwarded };
    struct Told {
        std::string_view name;  // of the header, as it is usually written
        Way way;
        std::string_view value;
    };

    using Values = std::pmr::vector<std::string_view>;

    explicit Visit(std::pmr::memory_resource* memory = std::pmr::get_default_resource())
        : told(memory), headers(names, memory) {}

    Address peer;  // of the connection
    // Where the listener speaks PROXY: the source that it told, empty if it told none.
    std::optional<std::string_view> proxy_source;
    Address local;  // the address that the peer connected to, never a wildcard
    bool https = false;
    bool http10 = false;  // or older
    std::string_view method;
    std::string_view host;             // what was asked for as it came, with its port if it has one
    bool names_code = false;           // the query does: owt::names_code(); or has arguments for a published function
    bool brings_python = false;        // the query does: owt::brings_python()
    std::pmr::vector<Told> told;       // for whom it is, by all headers that fronts use to say so
    std::string_view front_sign;       // a header that fronts alone add, without saying for whom; empty if none came
    std::pmr::vector<Values> headers;  // by their names

    // Takes in any header; those that do not matter here are ignored.
    void add(std::string_view name, std::string_view value);
    const Values& operator[](Name name) const { return headers[name]; }
    // It came once, with this value.
    bool says(Name name, std::string_view value) const;
    // By X-Forwarded-For; the other headers do not count on a unix socket.
    bool has_forwarded_for() const;

    // No web page comes to a unix socket but through a front, which passes on what it is called itself.
    bool through_front() const;
    // The request's own origin: what a page of this server has. Empty if it is unclear.
    std::string own_origin() const;
};

}  // namespace owt
