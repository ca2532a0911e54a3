//! The built programs, seen from outside: as processes, by unmodified clients, under everything that may
//! happen to a server. One binary, so that it links once.

mod balancer;
mod certificates;
mod crash;
mod demonstration;
mod device_sdk;
mod fair;
mod faults;
mod feed;
mod guessing;
mod keys;
mod manners;
mod manual;
mod neighbours;
mod newcomers;
mod openapi;
mod openid;
mod operators;
mod races;
mod refusals;
mod secrets;
mod seed_programs;
mod servers;
mod service;
mod terminal;
mod thingsboard_clients;
mod tracing;
