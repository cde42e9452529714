//! Three nodes driven by frames, as a coordinator would, and as a hostile coordinator would.

mod attacks;
mod clock;
mod cluster;
mod life;
mod secrets;
