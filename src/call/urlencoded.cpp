#include "call/urlencoded.hpp"

#include "call/intake.hpp"
#include "call/text.hpp"

namespace owt {

std::string decode_percent(std::string_view text) {
    std::string out(text);
    size_t length = out.find_first_of("%+");
    if (length == std::string::npos) {
        return out;
    }
    for (size_t i = length; i < text.size(); ++i) {
        char c = text[i];
        if (c == '+') {
            c = ' ';
        } else if (c == '%' && text.size() - i > 2) {
            int high = hex_digit(text[i + 1]);
            int low = hex_digit(text[i + 2]);
            if (high >= 0 && low >= 0) {
                c = char(high << 4 | low);
                i += 2;
            }
        }
        out[length++] = c;
    }
    out.resize(length);
    return out;
}

Complaint read_urlencoded(std::string_view text, Params& params) {
    Intake intake(params);
    Complaint complaint;
    for_each_pair(text, [&](std::string_view name, std::string_view value) {
        complaint = intake.first(decode_percent(name), decode_percent(value));
        return !complaint;
    });
    return complaint ? complaint : intake.finish();
}

}  // namespace owt
