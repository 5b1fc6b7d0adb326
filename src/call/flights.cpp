#include "call/flights.hpp"

namespace owt {

bool Flights::board(Ticket& ticket, const Digest& key) {
    ticket.leave();
    ticket.flights_ = this;
    ticket.key_ = key;
    auto [flight, first] = flights_.try_emplace(key);
    if (first) {
        ticket.role_ = Ticket::Role::leads;
        return true;
    }
    flight->second.waiting.push_back(&ticket);
    ticket.role_ = Ticket::Role::waits;
    return false;
}

Flights::Due Flights::due() {
    if (due_.empty()) {
        return {nullptr, nullptr};
    }
    Ticket* ticket = due_.front();
    due_.pop_front();
    if (ticket->role_ == Ticket::Role::due) {
        ticket->role_ = Ticket::Role::none;
    }
    return {ticket->owner_, std::move(ticket->kept_)};
}

void Flights::wake(Ticket& ticket, Ticket::Role role, KeptPtr kept) {
    bool first = due_.empty();
    ticket.role_ = role;
    ticket.kept_ = std::move(kept);
    due_.push_back(&ticket);
    if (first) {
        tell_();
    }
}

void Flights::wake_all(const Digest& key, const KeptPtr& kept) {
    auto flight = flights_.extract(key);
    for (Ticket* ticket : flight.mapped().waiting) {
        wake(*ticket, Ticket::Role::due, kept);
    }
}

void Flights::next(const Digest& key) {
    auto flight = flights_.find(key);
    if (flight->second.waiting.empty()) {
        flights_.erase(flight);
        return;
    }
    Ticket* ticket = flight->second.waiting.front();
    flight->second.waiting.pop_front();
    wake(*ticket, Ticket::Role::leads, nullptr);
}

void Flights::Ticket::land(const KeptPtr& kept) {
    if (leads()) {
        role_ = Role::none;
        flights_->wake_all(key_, kept);
    }
}

void Flights::Ticket::disperse() {
    land(nullptr);
}

bool Flights::Ticket::leave_waiting() {
    if (role_ != Role::waits) {
        return false;
    }
    leave();
    return true;
}

void Flights::Ticket::leave() {
    Role role = std::exchange(role_, Role::none);
    if (flights_ == nullptr || role == Role::none) {
        return;
    }
    if (role == Role::waits) {
        flights_->flights_.find(key_)->second.waiting.remove(this);
        return;
    }
    flights_->due_.remove(this);
    kept_ = nullptr;
    if (role == Role::leads) {
        flights_->next(key_);
    }
}

}  // namespace owt
