// Four questions, one after the other: does the client sit at this machine (client.cpp), is the server called what the
// client calls it, does a browser only guess that the answer may be wanted, and which page does a browser ask for
// (page.cpp). Whatever cannot be read is taken for the worst.

#include "guard/guard.hpp"

#include <optional>

#include "guard/client.hpp"
#include "guard/page.hpp"
#include "guard/shown.hpp"

namespace owt {

namespace {

using Refusal = std::optional<Problem>;

Problem unknown_host(std::string_view what) {
    return {421, "unknown-host", std::string(what)};
}

Refusal about_host(const Visit& visit, const Rules& rules) {
    // What others reach may be called as they like: nobody gains by another name for it.
    if (rules.published && visit.local.kind != Address::Kind::none && !is_local(visit.local)) {
        return {};
    }
    if (visit.host.empty()) {
        return unknown_host("The request names no host. Send a Host header, as localhost.");
    }
    std::string host = read_authority(visit.host).host;
    if (host.empty()) {
        return unknown_host("The Host " + printable(visit.host) +
                            " is neither a name nor an address as it is usually written, nor one of these with a port. "
                            "Ask for localhost or 127.0.0.1, or for one of the server's names.");
    }
    for (std::string_view sent : visit[Visit::host_header]) {
        if (sent != visit.host && read_authority(sent).host != host) {
            return unknown_host("The request names two hosts, " + printable(visit.host) + " and " + printable(sent) +
                                ". Ask for one.");
        }
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
    Verdict verdict = judge_page(visit, rules, allowed);
    verdict.allow_origin = allowed;
    verdict.varies_by_origin = !rules.origins.empty() || rules.any_origin;
    return verdict;
}

}  // namespace owt
