//! The names of `audiopus_sys`, from the libopus that `opusic-sys` builds.

use std::ffi::c_int;

pub use opusic_sys::*;

/// A decoder's complexity: from 5 on what is missing is made up by deep loss concealment, from 6 on voice of few bits
/// is enhanced by LACE. libopus leaves a new decoder at 0, and `audiopus` knows no such setting.
const COMPLEXITY: c_int = 6;

/// As libopus's, at a complexity of 6.
///
/// # Safety
/// As of libopus's: `error` is null, or one may write to it.
pub unsafe fn opus_decoder_create(rate: i32, channels: c_int, error: *mut c_int) -> *mut OpusDecoder {
    // SAFETY: the caller keeps what libopus asks for.
    let decoder = unsafe { opusic_sys::opus_decoder_create(rate, channels, error) };
    if !decoder.is_null() {
        // SAFETY: the decoder is there and nobody else has it; this request takes one c_int. A libopus without deep
        // networks refuses nothing here, and has no use for it.
        unsafe { opus_decoder_ctl(decoder, OPUS_SET_COMPLEXITY_REQUEST, COMPLEXITY) };
    }
    decoder
}
