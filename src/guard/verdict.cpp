#include "guard/verdict.hpp"

namespace owt {

Verdict refuse(Problem problem) {
    Verdict verdict;
    verdict.kind = Verdict::Kind::refuse;
    verdict.problem = std::move(problem);
    return verdict;
}

std::vector<std::pair<std::string_view, std::string_view>> guard_headers(const Verdict& verdict) {
    std::vector<std::pair<std::string_view, std::string_view>> out;
    out.reserve(8);
    out.emplace_back("X-Content-Type-Options", "nosniff");
    out.emplace_back("Referrer-Policy", "same-origin");
    out.emplace_back("Cache-Control", "no-store");
    if (verdict.allow_origin.empty()) {
        out.emplace_back("Cross-Origin-Resource-Policy", "same-origin");
    } else {
        out.emplace_back("Access-Control-Allow-Origin", verdict.allow_origin);
    }
    if (verdict.varies_by_origin) {
        out.emplace_back("Vary", "Origin");
    }
    if (verdict.kind == Verdict::Kind::preflight) {
        out.emplace_back("Access-Control-Allow-Methods", "GET, HEAD, POST");
        out.emplace_back("Access-Control-Max-Age", "600");
        if (!verdict.allow_headers.empty()) {
            out.emplace_back("Access-Control-Allow-Headers", verdict.allow_headers);
        }
    }
    return out;
}

}  // namespace owt
