// Four questions, one after the other: does the client sit at this machine, is the server called what the client calls
// it, does a browser only guess that the answer may be wanted, and which page does a browser ask for (page.cpp).
// Whatever cannot be read is taken for the worst.

#include "guard/guard.hpp"

#include <optional>

#include "call/text.hpp"
#include "guard/page.hpp"
#include "guard/shown.hpp"

namespace owt {

namespace {

using Refusal = std::optional<Problem>;

Problem remote(std::string_view what) {
    return {403, "remote-client",
            "This server runs code only for clients on its own machine. " + std::string(what) +
                "\nTo let others in, make them log in:" + line("owt_auth USER:SHA256_OF_PASSWORD;") +
                "\nor, if something else in this location decides who may (auth_basic, client certificates, allow and "
                "deny):" +
                line("owt_allow remote;")};
}

Problem remote_of_front(std::string_view what) {
    return {
        403, "remote-client",
        "This server runs code only for clients on its own machine. " + std::string(what) +
            "\nIf the front lets in only who may (it has owt_auth, or something else decides there), add here, where "
            "the unix socket is listened on:" +
            line("owt_allow remote;")};
}

Problem unknown_host(std::string_view what) {
    return {421, "unknown-host", std::string(what)};
}

// What a front says of whom it asks for: an address, perhaps with a port, or nginx's name of a unix socket.
bool is_local_node(std::string_view node) {
    node = trim(node, blanks);
    if (node == "unix:" || is_local(parse_address(node))) {
        return true;
    }
    auto parts = split_port(node);
    return parts && is_local(literal(parts->first));
}

// RFC 7239. A quoted string that holds a separator has no place here: it is torn apart, and unreadable.
bool is_local_element(std::string_view element) {
    std::size_t named = 0;
    bool readable = all_parts(element, ';', [&](std::string_view pair) {
        pair = trim(pair, blanks);
        std::size_t equals = std::min(pair.find('='), pair.size());
        std::string_view name = pair.substr(0, equals);
        std::string_view value = pair.substr(std::min(equals + 1, pair.size()));
        if (value.size() >= 2 && value.front() == '"' && value.back() == '"') {
            value = value.substr(1, value.size() - 2);
        }
        if (name.empty() || value.empty() || value.find_first_of("\"\\") != std::string_view::npos) {
            return false;
        }
        if (!same(name, "for")) {
            return name.find_first_of("\" \t") == std::string_view::npos;
        }
        ++named;
        return is_local_node(value);
    });
    return readable && named == 1;
}

Refusal about_forwarded(const Visit& visit) {
    struct Test {
        Visit::Name name;
        std::string_view shown_name;
        bool (*is_local)(std::string_view part);
    };
    for (const Test& test :
         {Test{Visit::forwarded_for, "X-Forwarded-For", is_local_node},
          Test{Visit::real_ip, "X-Real-IP", is_local_node}, Test{Visit::forwarded, "Forwarded", is_local_element}}) {
        for (std::string_view value : visit[test.name]) {
            if (!all_parts(value, ',', test.is_local)) {
                std::string what =
                    "This request was passed on by a front that names another one: " + std::string(test.shown_name) +
                    " is " + printable(value) + ".";
                return visit.through_front() ? remote_of_front(what) : remote(what);
            }
        }
    }
    return {};
}

Refusal about_client(const Visit& visit, const Rules& rules) {
    if (rules.remote || rules.has_auth) {
        return {};
    }
    if (!is_local(visit.peer)) {
        return remote("This request comes from " + text_of(visit.peer) + ".");
    }
    if (visit.proxy_source && !is_local_node(*visit.proxy_source)) {
        return remote("This request comes, by the PROXY protocol, from " + printable(*visit.proxy_source) + ".");
    }
    if (auto refusal = about_forwarded(visit)) {
        return refusal;
    }
    if (visit.peer.kind == Address::Kind::unix_socket && visit[Visit::forwarded_for].empty()) {
        return Problem{403, "remote-client",
                       "This request came over a unix socket without X-Forwarded-For, so nobody knows for whom. If a "
                       "front passed it on, add this line where it has proxy_pass:" +
                           line("include owt_params;") +
                           "\nIf programs open the socket themselves, and its directory decides who may, add here:" +
                           line("owt_allow remote;")};
    }
    return {};
}

Refusal about_host(const Visit& visit, const Rules& rules) {
    if (visit.host.empty()) {
        return unknown_host("The request names no host. Send a Host header, as localhost.");
    }
    std::string host = canonical_host(visit.host);
    if (host.empty()) {
        return unknown_host("The Host " + printable(visit.host) +
                            " is neither a name nor an address as it is usually written. Ask for localhost or "
                            "127.0.0.1, or for one of the server's names.");
    }
    Address address = literal(host);
    if (address.kind != Address::Kind::none) {
        if (is_unspecified(address)) {
            return unknown_host("The Host " + printable(visit.host) +
                                " is the address of no machine. Ask for localhost or 127.0.0.1.");
        }
        if (is_local(address) || unmapped(address) == unmapped(visit.local) || visit.through_front()) {
            return {};
        }
    } else if (host == "localhost" || host.ends_with(".localhost")) {
        return {};
    }
    if (rules.knows_host(host, visit.through_front())) {
        return {};
    }
    return unknown_host(
        "This server does not know itself as " + host +
        ". A page on the web can give any name to this machine's address, so only known names are answered. If this "
        "is one of the server's own, add this line to its configuration:" +
        line("owt_allow host " + host + ";"));
}

}  // namespace

Verdict guard(const Visit& visit, const Rules& rules) {
    if (auto refusal = about_client(visit, rules)) {
        return refuse(std::move(*refusal));
    }
    if (auto refusal = about_host(visit, rules)) {
        return refuse(std::move(*refusal));
    }
    if (auto refusal = about_prefetch(visit)) {
        return refuse(std::move(*refusal));
    }
    std::string_view allowed = allowed_origin(visit, rules);
    Verdict verdict = judge_page(visit, rules, !allowed.empty());
    verdict.allow_origin = allowed;
    verdict.varies_by_origin = !rules.origins.empty() || rules.any_origin;
    return verdict;
}

}  // namespace owt
