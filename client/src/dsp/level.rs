//! How loud sound is.

/// The lowest level that is told apart from silence, in dBFS.
pub const FLOOR: f32 = -96.0;

/// The largest magnitude in `samples`; what is not a number counts as silence.
pub fn peak(samples: &[f32]) -> f32 {
    // f32::max passes over a NaN.
    samples.iter().fold(0.0, |peak: f32, sample| peak.max(sample.abs()))
}

/// A magnitude as a level, −96 to 0 dBFS.
pub fn dbfs(magnitude: f32) -> f32 {
    if magnitude > 0.0 { (20.0 * magnitude.log10()).clamp(FLOOR, 0.0) } else { FLOOR }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn known_levels() {
        assert!((dbfs(peak(&[0.1, -0.5, 0.2])) + 6.02).abs() < 0.01);
        assert_eq!(dbfs(1.0), 0.0);
        assert_eq!(dbfs(0.0), FLOOR);
        assert_eq!(peak(&[]), 0.0);
        assert_eq!(peak(&[f32::NAN, -0.25]), 0.25);
    }

    proptest! {
        #[test]
        fn every_signal_has_a_level(samples in proptest::collection::vec(any::<f32>(), 0..64)) {
            let level = dbfs(peak(&samples));
            prop_assert!((FLOOR..=0.0).contains(&level));
        }
    }
}
