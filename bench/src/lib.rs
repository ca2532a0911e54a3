//! Figures of the built server, each beside a calibration of the same run.
//!
//! | Module | What it is for |
//! |---|---|
//! | [`load`] | the load generator; [`http`] and [`mqtt`] are what it says |
//! | [`echo`], [`bare_loop`], [`bare_unnest`], [`calls`], [`disk`], [`broker`] | what the machine does without Muster |
//! | [`figures`] | the measurements, one file each |
//! | [`report`] | figure, bar, verdict |

pub mod bare_loop;
pub mod bare_unnest;
pub mod broker;
pub mod calls;
pub mod disk;
pub mod echo;
pub mod figures;
pub mod http;
pub mod load;
pub mod mqtt;
pub mod names;
pub mod processor;
pub mod report;
