//! What keys are called, by their X11 keysym (X11/keysymdef.h).

/// Keysym of Escape.
pub(super) const ESCAPE: u32 = 0xff1b;

/// Keysyms without a character of their own.
const NAMES: [(u32, &str); 45] = [
    (0x0020, "Space"),
    (0xff08, "Backspace"),
    (0xff09, "Tab"),
    (0xff0d, "Enter"),
    (0xff13, "Pause"),
    (0xff14, "Scroll Lock"),
    (ESCAPE, "Escape"),
    (0xff50, "Home"),
    (0xff51, "Left"),
    (0xff52, "Up"),
    (0xff53, "Right"),
    (0xff54, "Down"),
    (0xff55, "Page Up"),
    (0xff56, "Page Down"),
    (0xff57, "End"),
    (0xff61, "Print"),
    (0xff63, "Insert"),
    (0xff67, "Menu"),
    (0xff7f, "Num Lock"),
    (0xff8d, "Keypad Enter"),
    (0xff95, "Keypad 7"),
    (0xff96, "Keypad 4"),
    (0xff97, "Keypad 8"),
    (0xff98, "Keypad 6"),
    (0xff99, "Keypad 2"),
    (0xff9a, "Keypad 9"),
    (0xff9b, "Keypad 3"),
    (0xff9c, "Keypad 1"),
    (0xff9d, "Keypad 5"),
    (0xff9e, "Keypad 0"),
    (0xff9f, "Keypad ."),
    (0xffaa, "Keypad *"),
    (0xffab, "Keypad +"),
    (0xffad, "Keypad -"),
    (0xffaf, "Keypad /"),
    (0xffe1, "Left Shift"),
    (0xffe2, "Right Shift"),
    (0xffe3, "Left Ctrl"),
    (0xffe4, "Right Ctrl"),
    (0xffe5, "Caps Lock"),
    (0xffe9, "Left Alt"),
    (0xffea, "Right Alt"),
    (0xffeb, "Left Super"),
    (0xffec, "Right Super"),
    (0xffff, "Delete"),
];
/// Keysym of F1; the others follow up to F35.
const F1: u32 = 0xffbe;
const F35: u32 = 0xffe0;
/// A keysym above this is the Unicode character at the rest.
const UNICODE: u32 = 0x0100_0000;
/// Alt Gr.
const LEVEL_3: u32 = 0xfe03;

/// The name of a key by its keysym and, for a key that has none, its code.
pub(super) fn key_name(keysym: u32, code: u8) -> String {
    if let Some((_, name)) = NAMES.iter().find(|(known, _)| *known == keysym) {
        return (*name).to_owned();
    }
    match keysym {
        F1..=F35 => format!("F{}", keysym - F1 + 1),
        LEVEL_3 => "Alt Gr".to_owned(),
        0x21..=0xff => character(keysym, code),
        _ if keysym > UNICODE => character(keysym - UNICODE, code),
        _ => unnamed(code),
    }
}

/// The name of a mouse button by its X11 number. The wheel takes 4 to 7: the thumb's first button is number 8, and
/// "Mouse 4" to everybody but X11.
pub(super) fn button_name(button: u8) -> String {
    match button {
        2 => "Middle button".to_owned(),
        8.. => format!("Mouse {}", button - 4),
        _ => format!("Button {button}"),
    }
}

fn character(code_point: u32, code: u8) -> String {
    match char::from_u32(code_point) {
        Some(character) if !character.is_control() => character.to_uppercase().collect(),
        _ => unnamed(code),
    }
}

fn unnamed(code: u8) -> String {
    format!("Key {code}")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn keys_are_called_as_on_the_keyboard() {
        assert_eq!(key_name(0x76, 55), "V");
        assert_eq!(key_name(0xe4, 48), "Ä");
        assert_eq!(key_name(UNICODE + 0x44f, 52), "Я");
        assert_eq!(key_name(0xffc5, 74), "F8");
        assert_eq!(key_name(0xffe0, 1), "F35");
        assert_eq!(key_name(0xffe4, 105), "Right Ctrl");
        assert_eq!(key_name(0x20, 65), "Space");
        assert_eq!(key_name(0, 202), "Key 202");
        assert_eq!(button_name(8), "Mouse 4");
        assert_eq!(button_name(2), "Middle button");
    }

    proptest! {
        #[test]
        fn every_key_has_a_name(keysym: u32, code: u8) {
            prop_assert!(!key_name(keysym, code).is_empty());
        }
    }
}
