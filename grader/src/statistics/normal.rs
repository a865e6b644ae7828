//! Tails of the normal distribution, and the correlation test that uses them.

use std::f64::consts::SQRT_2;

/// Returns the probability that a standard normal variable exceeds z.
pub(super) fn upper_tail(z: f64) -> f64 {
    libm::erfc(z / SQRT_2) / 2.0
}

/// Returns how many standard errors a correlation of n pairs lies above zero, by Fisher's transformation.
pub(super) fn correlation_z(r: f64, n: i64) -> f64 {
    let bounded = r.clamp(-0.999_999, 0.999_999);
    bounded.atanh() * ((n - 3).max(0) as f64).sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tails_are_those_of_the_tables() {
        for (z, tail) in [(0.0, 0.5), (1.644_853_627, 0.05), (2.575_829_304, 0.005)] {
            assert!((upper_tail(z) - tail).abs() < 1e-9, "{z}");
            assert!((upper_tail(-z) - (1.0 - tail)).abs() < 1e-9, "-{z}");
        }
        assert!(upper_tail(8.0) > 6e-16 && upper_tail(8.0) < 7e-16);
    }
}
