// Browsers say of a request where it comes from in headers that scripts cannot set; over plain HTTP some of them are
// missing. Whatever cannot be read is taken for the worst.

#include "guard/page.hpp"

#include <algorithm>

#include "call/text.hpp"
#include "guard/host.hpp"
#include "guard/shown.hpp"

namespace owt {

namespace {

// What a preflight may ask for is told back to it: a bound keeps that short.
constexpr std::size_t max_headers = 1000;

Problem foreign_page(std::string_view what) {
    return {403, "foreign-page", std::string(what)};
}

// Or says nothing of the mode.
bool is_cors(const Visit& visit) {
    const auto& mode = visit[Visit::fetch_mode];
    return mode.empty() || visit.says(Visit::fetch_mode, "cors");
}

// A script's request, for all one can see. A form or a link on a foreign page is none; browsers send the password that
// they remember along with it.
bool is_scripted(const Visit& visit) {
    return visit[Visit::upgrade_insecure].empty() && is_cors(visit);
}

// By headers that programs do not send. Node's fetch() is a program, and sends Sec-Fetch-Mode: cors; from a foreign
// page a browser sends an Origin with that.
bool is_browser(const Visit& visit) {
    return !visit[Visit::upgrade_insecure].empty() || !is_cors(visit) || !visit[Visit::fetch_dest].empty();
}

bool calls_itself_browser(const Visit& visit) {
    return std::ranges::any_of(visit[Visit::user_agent],
                               [](std::string_view agent) { return agent.find("Mozilla/") != std::string_view::npos; });
}

Problem refuse_origin(std::string_view origin) {
    return foreign_page("A page of " + std::string(origin) +
                        " asks for this, and only this server's own pages may. If its scripts may run code here, add "
                        "this line to the server's configuration:" +
                        line("owt_allow origin " + std::string(origin) + ";"));
}

Problem refuse_page(const Visit& visit) {
    const auto& sent = visit[Visit::origin];
    if (visit.says(Visit::origin, "null")) {
        return foreign_page(
            "The page that asks is nobody's (Origin: null): it is a file, or in a sandboxed frame. Serve it from a web "
            "server, and allow that:" +
            line("owt_allow origin http://ITS_HOST;"));
    }
    if (sent.size() == 1 && !canonical_origin(sent[0]).empty()) {
        return refuse_origin(sent[0]);
    }
    if (!sent.empty()) {
        return foreign_page("The request's Origin cannot be read: " + printable(sent[0]) +
                            (sent.size() > 1 ? ", and there are several." : "."));
    }
    if (!visit[Visit::referer].empty() && !is_browser(visit) && !calls_itself_browser(visit)) {
        std::string_view origin = origin_part(visit[Visit::referer][0]);
        return canonical_origin(origin).empty()
                   ? foreign_page("The request's Referer is no page of this server: " + printable(origin) +
                                  ". A program passes without Referer.")
                   : refuse_origin(origin);
    }
    return foreign_page(
        "A browser asks for this, not for a page of this server, and does not say for which. A link works in a tab of "
        "its own, not in a frame; a script calls by fetch() in mode cors, from an origin that is allowed:" +
        line("owt_allow origin http://ITS_HOST;") +
        "\nA program that is no browser passes without Sec-Fetch-* headers and with a User-Agent of its own.");
}

// A link that was followed. Without code there is nothing to confirm.
Verdict follow_link(const Visit& visit, const Rules& rules) {
    Verdict verdict;
    if (visit.names_code && !rules.links) {
        verdict.kind = Verdict::Kind::confirm;
    }
    return verdict;
}

Verdict judge_fetch(const Visit& visit, const Rules& rules) {
    if (visit.says(Visit::fetch_site, "same-origin")) {
        return {};
    }
    bool known = visit.says(Visit::fetch_site, "cross-site") || visit.says(Visit::fetch_site, "same-site") ||
                 visit.says(Visit::fetch_site, "none");
    if (known && visit.method == "GET" && visit.says(Visit::fetch_mode, "navigate") &&
        visit.says(Visit::fetch_dest, "document")) {
        return follow_link(visit, rules);
    }
    return refuse(refuse_page(visit));
}

bool is_own(const Visit& visit, std::string_view origin) {
    std::string own = visit.own_origin();
    return !own.empty() && canonical_origin(origin) == own;
}

bool has_own_referer(const Visit& visit) {
    const auto& sent = visit[Visit::referer];
    return sent.size() == 1 && is_own(visit, origin_part(sent[0]));
}

bool has_foreign_referer(const Visit& visit, const Rules& rules) {
    const auto& sent = visit[Visit::referer];
    return !sent.empty() && (sent.size() > 1 || !rules.allows_origin(canonical_origin(origin_part(sent[0]))));
}

// Browsers say no more over plain HTTP, unless to the machine itself.
Verdict judge_plain(const Visit& visit, const Rules& rules) {
    if (const auto& sent = visit[Visit::origin]; !sent.empty()) {
        return sent.size() == 1 && is_own(visit, sent[0]) ? Verdict() : refuse(refuse_page(visit));
    }
    if (has_own_referer(visit)) {
        return {};
    }
    // Sent with what is shown in a tab or a frame, and with nothing else. In a frame the page shows nothing.
    if (!visit[Visit::upgrade_insecure].empty() && visit.method == "GET") {
        return follow_link(visit, rules);
    }
    // A browser's POST has an Origin, so that one without is a program's, whatever it calls itself.
    if (is_browser(visit) || (calls_itself_browser(visit) && visit.method != "POST") ||
        has_foreign_referer(visit, rules)) {
        return refuse(refuse_page(visit));
    }
    return {};
}

// What a preflight asks to be allowed, if it consists of names.
std::string header_names(const std::vector<std::string_view>& asked) {
    std::string out;
    for (std::string_view value : asked) {
        bool names = all_parts(value, ',', [](std::string_view name) {
            name = trim(name, blanks);
            return !name.empty() && std::ranges::all_of(lower(name), [](char c) {
                return letters_and_digits.find(c) != std::string_view::npos || c == '-' || c == '_';
            });
        });
        if (!names || out.size() + value.size() > max_headers) {
            return {};
        }
        out.append(out.empty() ? "" : ", ").append(value);
    }
    return out;
}

}  // namespace

std::optional<Problem> about_prefetch(const Visit& visit) {
    auto guesses = [](std::string_view value) {
        std::string text = lower(value);
        return text.find("prefetch") != std::string::npos || text.find("prerender") != std::string::npos ||
               text.find("preview") != std::string::npos;
    };
    // Nothing but a browser that guesses sends the first. The others are its older spellings.
    if (visit[Visit::sec_purpose].empty() && std::ranges::none_of(visit[Visit::purpose], guesses) &&
        std::ranges::none_of(visit[Visit::moz], guesses)) {
        return {};
    }
    return Problem{
        403, "prefetch",
        "This asks for an answer that nobody may want yet (Sec-Purpose), and code is not run on a guess. Ask "
        "when it is wanted, without prefetching."};
}

std::string_view allowed_origin(const Visit& visit, const Rules& rules) {
    const auto& sent = visit[Visit::origin];
    if (sent.size() != 1 || (rules.origins.empty() && !rules.any_origin)) {
        return {};
    }
    std::string origin = canonical_origin(sent[0]);
    if (origin.empty()) {
        return {};
    }
    if (rules.allows_origin(origin)) {
        return sent[0];
    }
    return rules.any_origin && rules.has_auth && is_scripted(visit) ? "*" : std::string_view();
}

Verdict judge_page(const Visit& visit, const Rules& rules, bool allowed) {
    if (allowed) {
        Verdict verdict;
        if (visit.method == "OPTIONS" && visit[Visit::preflight_method].size() == 1) {
            verdict.kind = Verdict::Kind::preflight;
            verdict.allow_headers = header_names(visit[Visit::preflight_headers]);
        }
        return verdict;
    }
    Verdict verdict = visit[Visit::fetch_site].empty() ? judge_plain(visit, rules) : judge_fetch(visit, rules);
    if (visit.method == "OPTIONS" && verdict.kind == Verdict::Kind::refuse) {
        verdict.problem.status = 405;
    }
    return verdict;
}

}  // namespace owt
