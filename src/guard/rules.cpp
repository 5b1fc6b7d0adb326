#include "guard/rules.hpp"

#include <algorithm>

#include "call/text.hpp"
#include "guard/host.hpp"
#include "guard/shown.hpp"

namespace owt {

namespace {

bool contains(const std::vector<std::string>& list, std::string_view text) {
    return std::ranges::find(list, text) != list.end();
}

std::string why_no_host(std::string_view text) {
    if (text.find("://") != std::string_view::npos || text.find('/') != std::string_view::npos) {
        return " is an address of a page: give the host alone, as gpu.example.com";
    }
    if (text.find_first_of("*~") != std::string_view::npos || text.starts_with('.')) {
        return " stands for many hosts: give each by its name";
    }
    if (auto parts = split_port(text); parts && parts->second && !canonical_host(parts->first).empty()) {
        return " has a port: give the host alone, it counts for all ports";
    }
    if (!text.empty() && ends_in_number(lower(text))) {
        return " is no address: write IPv4 as four decimal numbers, as 192.0.2.7";
    }
    return " is no host: give a name (international ones as xn--...), or an address, as 192.0.2.7 or [2001:db8::7]";
}

std::string why_no_origin(std::string_view text) {
    std::size_t authority = text.find("://");
    if (text == "null") {
        return " is the origin of every file and sandboxed frame, whoever made it: give an origin that is somebody's";
    }
    if (authority == std::string_view::npos) {
        return " has no scheme: give the origin as https://example.com";
    }
    if (text.find('*') != std::string_view::npos) {
        return " stands for many origins: give each one exactly, or * alone";
    }
    std::string_view origin = origin_part(text);
    if (origin.size() < text.size() && !canonical_origin(origin).empty()) {
        return " has a path: give the origin alone, " + std::string(origin);
    }
    return " is no origin: give a scheme, a host, and a port if it is not the usual one, as https://example.com:8443";
}

}  // namespace

Complaint Rules::allow_host(std::string_view text) {
    std::string host = canonical_host(text);
    // Addresses are often written without the brackets that they have in a URL.
    if (Address address = parse_address(text); host.empty() && address.kind == Address::Kind::v6) {
        host = canonical_host("[" + std::string(text) + "]");
    }
    if (host.empty()) {
        return printable(text) + why_no_host(text);
    }
    if (Address address = literal(host); address.kind != Address::Kind::none && is_unspecified(address)) {
        return printable(text) + " is the address of no machine: give one that clients use";
    }
    hosts.push_back(std::move(host));
    return {};
}

Complaint Rules::allow_origin(std::string_view text) {
    if (text == "*") {
        any_origin = true;
        return {};
    }
    std::string origin = canonical_origin(text);
    if (origin.empty()) {
        return printable(text) + why_no_origin(text);
    }
    origins.push_back(std::move(origin));
    return {};
}

void Rules::add_server_name(std::string_view name, bool own) {
    std::string host = canonical_host(name);
    if (host.empty()) {
        return;
    }
    if (own) {
        server_names.push_back(host);
    }
    all_server_names.push_back(std::move(host));
}

Complaint Rules::check() const {
    if (any_origin && !has_auth && !published) {
        return "'*' lets every page on the web run code here: name the origins, or add owt_auth";
    }
    return {};
}

bool Rules::knows_host(std::string_view host, bool through_front) const {
    return contains(server_names, host) || contains(hosts, host) || (through_front && contains(all_server_names, host));
}

bool Rules::allows_origin(std::string_view origin) const {
    return contains(origins, origin);
}

}  // namespace owt
