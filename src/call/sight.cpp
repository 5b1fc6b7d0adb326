#include "call/sight.hpp"

#include <algorithm>

#include "call/text.hpp"

namespace owt {

namespace {

constexpr std::size_t digits = 16;

}  // namespace

std::uint64_t endpoint_number(std::string_view code_id) {
    if (code_id.size() < digits) {
        return 0;
    }
    std::uint64_t number = 0;
    for (char c : code_id.substr(0, digits)) {
        int digit = hex_digit(c);
        if (digit < 0) {
            return 0;
        }
        number = number << 4 | static_cast<std::uint64_t>(digit);
    }
    return number;
}

std::array<char, 16> endpoint_digits(std::uint64_t number) {
    std::array<char, digits> text;
    for (std::size_t i = digits; i-- > 0; number >>= 4) {
        text[i] = "0123456789abcdef"[number & 15];
    }
    return text;
}

void Sight::show(Tally& tally, CallPlace place, const CallSeen& seen) {
    tally_ = &tally;
    place_ = place;
    seen_ = seen;
    tally.shown.fetch_add(1, std::memory_order_relaxed);
    if (place_.stage != nullptr) {
        place_.seen->write(seen_, "publish_call");
        hook("show_call");
        place_.stage->store(stage_word(seen_.number, Stage::queued), std::memory_order_release);
    }
}

void Sight::name(std::string_view code_id, std::string_view function) {
    if (tally_ == nullptr || place_.stage == nullptr) {
        return;
    }
    seen_.endpoint = endpoint_number(code_id);
    seen_.function = {};
    function.copy(seen_.function.data(), seen_.function.size() - 1);
    place_.seen->write(seen_, "publish_name");
}

void Sight::stands(Stage stage) {
    if (tally_ == nullptr) {
        return;
    }
    bool begins = stage != Stage::queued && (stage != Stage::ending || begun_);
    if (begins && !begun_) {
        tally_->begun.fetch_add(1, std::memory_order_relaxed);
    } else if (!begins && begun_) {
        tally_->begun.fetch_sub(1, std::memory_order_relaxed);
    }
    begun_ = begins;
    if (stage == Stage::none) {
        hook("end_call");
        tally_->ended.fetch_add(1, std::memory_order_relaxed);
        tally_ = nullptr;
    }
    if (place_.stage != nullptr) {
        place_.stage->store(stage == Stage::none ? 0 : stage_word(seen_.number, stage), std::memory_order_release);
    }
}

}  // namespace owt
